#!/usr/bin/env bash
# Installs sandbox-pool on a Proxmox VE node, or on any Debian machine that reaches one: program, user, settings,
# unit, and at PVE a user and token that may do what the pool needs and nothing else. Run again, it upgrades and
# keeps what it finds. It loads nothing from the network.
set -euo pipefail

usage() {
    cat <<'TEXT'
sudo deploy/install.sh [OPTION]...

Installs sandbox-pool as a service, or upgrades it: what is set and known already is kept. At a terminal it asks for
what it needs and was not given.

  --pve-url URL       Address of the PVE API, https://NODE:8006 [default: the one in the settings, else
                      https://127.0.0.1:8006 on a PVE node]
  --pve-token TOKEN   API token, USER@REALM!ID=SECRET; better in the variable PVE_API_TOKEN, since every user of
                      the machine sees arguments [default: the one in the settings, else on a PVE node a user
                      and a token are made]
  --templates LIST    VMIDs of the templates to fill, separated by commas [default: every container template of
                      this cluster is allowed to the token, none is filled before it is asked for]
  --pool-size NUMBER  Ready containers to keep for each template [default: as set, else 5]
  --install-dir DIR   Where the program goes [default: where it is already, else /usr/local/bin]
  --binary PATH       The program, as `cargo build --release` made it [default: target/release/sandbox-pool]
  --skip-caddy        Do not say how callers on other machines get here, where Caddy is installed; Caddy's own
                      files are never changed
  --dry-run           Show what would be done, and do nothing
  --uninstall         Remove program and unit; settings, event log and what is at PVE stay
  --root DIR          Put files below DIR, as for a test; users, services and PVE are this machine's all the same
  --help              Show this

Variables, where the option is not given: PVE_API_URL (--pve-url), PVE_API_TOKEN (--pve-token), POOL_TARGET_SIZE
(--pool-size). sudo hands them on with --preserve-env=PVE_API_URL,PVE_API_TOKEN,POOL_TARGET_SIZE.
TEXT
}

pve_url=${PVE_API_URL:-} pve_token=${PVE_API_TOKEN:-} templates='' pool_size=${POOL_TARGET_SIZE:-} install_dir='' binary=''
skip_caddy=no dry_run=no uninstall=no root=''

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
user=warm@pve token_id=svc pool=warm

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    told=yes
    exit 1
}
# A command that failed has said why; this is what to do then.
ended() {
    [[ $1 == 0 || ${told:-no} == yes ]] ||
        printf 'install.sh: stopped by the error above; mend it and run this again: what is done stays\n' >&2
}
trap 'ended $?' EXIT
have() { command -v "$1" >/dev/null 2>&1; }
# A PVE node has none, and whoever is there is root.
sudo=
! have sudo || sudo="sudo "

# Runs what changes something, or shows it.
run() {
    if [[ $dry_run == yes ]]; then
        say "would run: $*"
    else
        "$@"
    fi
}

read_arguments() {
    local name value
    while [[ $# -gt 0 ]]; do
        name=${1%%=*}
        case $name in
        --skip-caddy | --dry-run | --uninstall | --help | -h)
            [[ $1 == "$name" ]] || fail "$name takes no value: give it without =${1#*=}"
            ;;
        --pve-url | --pve-token | --templates | --pool-size | --install-dir | --binary | --root)
            if [[ $1 != "$name" ]]; then
                value=${1#*=}
            else
                [[ $# -gt 1 && $2 != --* ]] || fail "$name needs a value; --help says what it is"
                value=$2 && shift
            fi
            ;;
        # What stands behind a name may be a token.
        -*) fail "there is no option $name; --help lists what there is" ;;
        *) fail "an option is expected in the place of $name; --help lists what there is" ;;
        esac
        shift
        case $name in
        --pve-url) pve_url=$value ;;
        --pve-token) pve_token=$value ;;
        --templates) templates=$value ;;
        --pool-size) pool_size=$value ;;
        --install-dir) install_dir=$value ;;
        --binary) binary=$value ;;
        --root) root=${value%/} ;;
        --skip-caddy) skip_caddy=yes ;;
        --dry-run) dry_run=yes ;;
        --uninstall) uninstall=yes ;;
        --help | -h) usage && exit 0 ;;
        esac
    done
    [[ $pool_size =~ ^[0-9]*$ ]] || fail "--pool-size wants a number such as 5, not $pool_size"
    [[ $templates =~ ^([0-9]+(,[0-9]+)*)?$ ]] || fail "--templates wants VMIDs, such as 9009 or 9009,9010, not $templates"
    find_place
    [[ $install_dir == /* ]] || fail "--install-dir wants a path from /, such as /usr/local/bin, not $install_dir"
}

settings() { printf '%s/etc/sandbox-pool/env' "$root"; }
credential() { printf '%s/etc/sandbox-pool/pve-api-token' "$root"; }
# A unit of ours: service or socket.
unit() { printf '%s/etc/systemd/system/sandbox-pool.%s' "$root" "$1"; }

# Where the program goes; the unit of an earlier run knows where it is. The original's has the same name, and not
# this program in it.
find_place() {
    local earlier
    earlier=$(sed -n 's|^ExecStart=\(/.*\)/sandbox-pool serve .*|\1|p' "$(unit service)" 2>/dev/null) || true
    install_dir=${install_dir:-${earlier:-/usr/local/bin}}
    if [[ -n $earlier && $earlier != "$install_dir" && $uninstall == no ]]; then
        say "the program in $earlier is used no more: rm $earlier/sandbox-pool"
    fi
}

# The value of a setting in the file, if it is there, also of a line with `export`, which the program leaves out.
setting() {
    [[ -f $(settings) ]] || return 0
    sed -nE "s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*//p" "$(settings)" | tail -n 1 |
        sed -E "s/[[:space:]]+\$//; s/^\"(.*)\"\$/\\1/; s/^'(.*)'\$/\\1/"
}

# `ask QUESTION [FLAG OF read]`: nothing where nobody can answer.
ask() {
    local answer=''
    [[ -t 0 ]] || return 0
    read -r ${2:+"$2"} -p "$1" answer || true
    # What is not shown has no end of the line either.
    [[ -z ${2:-} ]] || echo >&2
    printf '%s' "$answer"
}

on_pve_node() { have pveum && have pveversion; }

find_url() {
    [[ -n $pve_url ]] || pve_url=$(setting PVE_API_URL)
    [[ -n $pve_url ]] || ! on_pve_node || pve_url=https://127.0.0.1:8006
    [[ -n $pve_url ]] || pve_url=$(ask 'Address of the PVE API (https://NODE:8006): ')
    [[ -n $pve_url ]] || fail "this is no PVE node, and no address of one was given: --pve-url https://NODE:8006"
    # What the program would refuse is better refused before anything is done.
    [[ $pve_url =~ ^https?://[^@?#[:space:]]+$ ]] ||
        fail "the address of PVE looks like https://NODE:8006, not '$pve_url': give another with --pve-url"
    [[ $pve_url == https:* || $pve_url =~ ^http://(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?(/|$) ]] ||
        fail "beyond this machine http would show the token to everybody on the way: --pve-url https${pve_url#http}"
}

find_token() {
    [[ -n $pve_token ]] || pve_token=$(setting PVE_API_TOKEN)
    if [[ -z $pve_token && -s $(credential) ]]; then
        # It was installed by hand, and stays where systemd alone reads it.
        pve_token=$(<"$(credential)") kept_apart=yes
    fi
    if [[ -z $pve_token ]] && on_pve_node; then
        make_token
        return
    fi
    [[ -n $pve_token ]] || pve_token=$(ask 'API token (USER@REALM!ID=SECRET; it is not shown): ' -s)
    [[ -n $pve_token ]] || fail "this is no PVE node, and no token was given: make one on a node, the README lists the commands, and then
  read -rs PVE_API_TOKEN && export PVE_API_TOKEN && ${sudo:+sudo --preserve-env=PVE_API_TOKEN }$0 --pve-url $pve_url"
    [[ $pve_token == ?*@?*!?*=?* ]] ||
        fail "this is no API token: one looks like USER@REALM!ID=SECRET; see PVE_API_TOKEN, --pve-token and $(settings)"
}

# --- at PVE -----------------------------------------------------------------------------------------------------

# Configurations of the templates that the token is to clone: the named ones, else all of the cluster.
template_files() {
    local file vmid
    for file in "$root"/etc/pve/nodes/*/lxc/*.conf; do
        [[ -f $file ]] || continue
        vmid=$(basename "$file" .conf)
        if [[ -n $templates ]]; then
            [[ ,$templates, == *,"$vmid",* ]] && printf '%s\n' "$file"
        elif grep -q '^template: 1' "$file"; then
            printf '%s\n' "$file"
        fi
    done
    return 0
}

# Whether a list of pveum has a row with exactly this in a column: `listed roleid WarmPool role list`.
listed() {
    local column=$1 name=$2
    shift 2
    pveum "$@" --output-format json 2>/dev/null | tr -d ' \n' | grep -qF "\"$column\":\"$name\""
}

role() {
    if listed roleid "$1" role list; then
        run pveum role modify "$1" --privs "$2"
    else
        run pveum role add "$1" --privs "$2"
    fi
}

# User and token both: a token with privilege separation may do what both may.
allow() {
    run pveum acl modify "$1" --roles "$2" --users "$user"
    run pveum acl modify "$1" --roles "$2" --tokens "$user!$token_id"
}

# The zone that a bridge is in: a vnet has its own.
zone_of() {
    local zone
    zone=$(sed -n "/^vnet: $1\$/,/^\$/ s/^[[:space:]]*zone[[:space:]]*//p" "$root/etc/pve/sdn/vnets.cfg" 2>/dev/null) || true
    printf '%s\n' "${zone:-localnetwork}"
}

make_roles() {
    local files vmids storages bridges it
    # Pool.Audit is for doctor alone: it sees by it whether the resource pool is there.
    role WarmPool 'VM.Audit VM.Allocate VM.PowerMgmt VM.Config.Network VM.Config.Options Pool.Audit'
    role WarmTemplate 'VM.Audit VM.Clone'
    role WarmStore 'Datastore.AllocateSpace Datastore.Audit'
    allow "/pool/$pool" WarmPool
    mapfile -t files < <(template_files)
    if [[ ${#files[@]} -eq 0 ]]; then
        say "no container template found: once there is one, run this again, so that the token may clone it"
        return
    fi
    vmids=$(for it in "${files[@]}"; do basename "$it" .conf; done | sort -un)
    # What stands behind the first [ are snapshots.
    storages=$(for it in "${files[@]}"; do sed '/^\[/q' "$it"; done | sed -n 's/^\(rootfs\|mp[0-9]*\): \([^:,/]*\):.*/\2/p' | sort -u)
    bridges=$(for it in "${files[@]}"; do sed '/^\[/q' "$it"; done | sed -n 's/^net[0-9]*:.*bridge=\([^,]*\).*/\1/p' | sort -u)
    for it in $vmids; do allow "/vms/$it" WarmTemplate; done
    for it in $storages; do allow "/storage/$it" WarmStore; done
    if [[ $(pveversion | sed -n 's|^pve-manager/\([0-9]*\).*|\1|p') -ge 8 ]]; then
        role WarmNet SDN.Use
        for it in $bridges; do allow "/sdn/zones/$(zone_of "$it")/$it" WarmNet; done
    fi
}

make_token() {
    local made
    listed poolid "$pool" pool list || run pveum pool add "$pool"
    listed userid "$user" user list || run pveum user add "$user" --comment sandbox-pool
    if listed tokenid "$token_id" user token list "$user"; then
        say "the secret of $user!$token_id is shown only once and not in $(settings): the token is made anew"
        run pveum user token remove "$user" "$token_id"
    fi
    if [[ $dry_run == yes ]]; then
        say "would run: pveum user token add $user $token_id --privsep 1"
        pve_token="$user!$token_id=SECRET"
    else
        made=$(pveum user token add "$user" "$token_id" --privsep 1 --output-format json)
        made=$(sed -n 's/.*"value" *: *"\([^"]*\)".*/\1/p' <<<"$made" | head -n 1)
        [[ -n $made ]] || fail "pveum made a token and did not show its secret: make one by hand (the README lists the commands) and set PVE_API_TOKEN"
        pve_token="$user!$token_id=$made"
    fi
}

# --- here -------------------------------------------------------------------------------------------------------

find_binary() {
    local built
    for built in "$here/../target/release/sandbox-pool" "$here/sandbox-pool"; do
        [[ -n $binary || ! -f $built ]] || binary=$built
    done
    [[ -n $binary ]] || fail "the program is not built: run \`cargo build --release --locked\`, or give --binary PATH"
    [[ -f $binary ]] || fail "there is no $binary; \`cargo build --release --locked\` makes target/release/sandbox-pool"
    # Without a slash it would be looked for in PATH.
    binary=$(realpath -- "$binary")
    "$binary" --version >/dev/null ||
        fail "$binary does not run on this machine: build it here, or without glibc as deploy/README.md shows"
}

install_program() {
    local target=$root$install_dir/sandbox-pool
    if [[ -f $target ]] && cmp -s "$binary" "$target"; then
        return
    fi
    run install -d -m 0755 "$root$install_dir"
    # Beside it and renamed: the running program cannot be written over.
    run install -m 0755 "$binary" "$target.new"
    run mv "$target.new" "$target"
    install_pages
    changed=yes
}

pages() { printf '%s/usr/local/share/man/man1' "$root"; }
completions() { printf '%s/usr/local/share/bash-completion/completions/sandbox-pool' "$root"; }

# What `man sandbox-pool` shows, and what the shell completes.
install_pages() {
    local shell
    shell=$(completions)
    run install -d -m 0755 "$(pages)" "${shell%/*}"
    run "$binary" man --into "$(pages)"
    if [[ $dry_run == yes ]]; then
        say "would write: $shell"
    else
        "$binary" completions bash >"$shell"
    fi
}

make_user() {
    getent passwd sandbox-pool >/dev/null 2>&1 ||
        run useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin sandbox-pool
}

# Sets a setting unless it is as wanted; lines that are there stay where they are.
set_setting() {
    local name=$1 value=$2 file=$3
    if grep -q "^$name=" "$file"; then
        # awk takes the value as it is, sed would not.
        NAME=$name VALUE=$value awk 'index($0, ENVIRON["NAME"] "=") == 1 { $0 = ENVIRON["NAME"] "=" ENVIRON["VALUE"] } { print }' "$file" >"$file.set"
        cat "$file.set" >"$file"
        rm -f "$file.set"
    else
        printf '%s=%s\n' "$name" "$value" >>"$file"
    fi
}

write_settings() {
    local file new
    file=$(settings)
    if [[ $dry_run == yes ]]; then
        say "would write: $file (0600) with PVE_API_URL, PVE_API_TOKEN${pool_size:+, POOL_TARGET_SIZE}${templates:+, POOL_TEMPLATES}"
        return
    fi
    install -d -m 0755 "$(dirname "$file")"
    new=$file.new
    (
        umask 077
        if [[ -f $file ]]; then
            cat "$file" >"$new"
        else
            printf '# Settings of sandbox-pool; all of them: sandbox-pool settings --format env\n' >"$new"
        fi
    )
    chmod 0600 "$new"
    set_setting PVE_API_URL "$pve_url" "$new"
    [[ ${kept_apart:-no} == yes ]] || set_setting PVE_API_TOKEN "$pve_token" "$new"
    [[ -z $pool_size ]] || set_setting POOL_TARGET_SIZE "$pool_size" "$new"
    [[ -z $templates ]] || set_setting POOL_TEMPLATES "$templates" "$new"
    # That token may do something only with the containers of this resource pool.
    [[ $pve_token != "$user!$token_id="* ]] || grep -q '^PVE_RESOURCE_POOL=' "$new" ||
        set_setting PVE_RESOURCE_POOL "$pool" "$new"
    if [[ -f $file ]] && cmp -s "$new" "$file"; then
        rm -f "$new"
        chmod 0600 "$file"
        return
    fi
    mv "$new" "$file"
    changed=yes
}

# The socket is there for whoever enables it.
write_units() {
    local kind
    for kind in service socket; do write_unit "$kind"; done
}

write_unit() {
    local file new
    file=$(unit "$1")
    if [[ $dry_run == yes ]]; then
        say "would write: $file"
        return
    fi
    install -d -m 0755 "$(dirname "$file")"
    new=$(mktemp)
    sed "s|^ExecStart=/usr/bin/|ExecStart=$install_dir/|" "$here/sandbox-pool.$1" >"$new"
    if ! cmp -s "$new" "$file"; then
        install -m 0644 "$new" "$file"
        [[ $1 == socket ]] || changed=yes
    fi
    rm -f "$new"
}

start_service() {
    local verb=start
    run systemctl daemon-reload
    run systemctl enable sandbox-pool.service
    [[ ${changed:-no} == no ]] || verb=restart
    run systemctl $verb sandbox-pool.service ||
        fail "it does not start: journalctl -u sandbox-pool -n 50 says why, and ${sudo}sandbox-pool doctor what mends it"
}

check_health() {
    # The service here is meant, whatever this shell's PVE_POOL_URL is.
    local tries answers=0 said trouble program=$root$install_dir/sandbox-pool
    unset PVE_POOL_URL
    if [[ $dry_run == yes ]]; then
        say "would ask: $program status"
        return
    fi
    # It knows by the settings where the service listens and which token it wants.
    for tries in {1..30}; do
        trouble=''
        if said=$("$program" status --env-file "$(settings)" 2>/dev/null); then
            # What keeps the service from its work is in lines of their own.
            trouble=$(sed -n 's/^! //p' <<<"$said")
            if [[ -z $trouble ]]; then
                say "sandbox-pool serves. The pool at a glance: ${sudo}sandbox-pool status; for cmux: PVE_POOL_URL=http://$(listens)"
                return
            fi
            # At first it has not looked at PVE yet, which may take long.
            [[ $trouble == 'PVE was not compared with the log yet.' ]] || answers=$((answers + 1))
            [[ $answers -lt 15 ]] || break
        fi
        [[ $tries == 30 ]] || sleep "${HEALTH_PAUSE:-1}"
    done
    [[ -z $trouble ]] || fail "sandbox-pool is installed and runs, but cannot work yet:
  ${trouble//$'\n'/$'\n  '}
What mends it says: ${sudo}sandbox-pool doctor"
    "$program" status --env-file "$(settings)" >&2 || true
    fail "it does not answer: journalctl -u sandbox-pool -n 50 says why, and ${sudo}sandbox-pool doctor what mends it"
}

listens() {
    local address
    address=$(setting POOL_LISTEN)
    printf '%s' "${address:-127.0.0.1:8007}"
}

hint_at_caddy() {
    [[ $skip_caddy == no ]] || return 0
    if have caddy || [[ -f $root/etc/caddy/Caddyfile ]]; then
        say "for callers on other machines: set POOL_API_TOKEN, take what $here/Caddyfile has over into"
        say "  /etc/caddy/Caddyfile, give Caddy the token as it says there, and run: systemctl restart caddy"
    fi
}

remove() {
    local file kind
    # The original's unit has the same name.
    if [[ -e $(unit service) ]] && ! grep -q '^ExecStart=/.*/sandbox-pool serve' "$(unit service)"; then
        fail "$(unit service) is another program's: nothing is removed; systemctl cat sandbox-pool shows whose it is"
    fi
    # The socket first, or the next request would start the service again.
    for kind in socket service; do
        [[ ! -e $(unit $kind) ]] || run systemctl disable --now "sandbox-pool.$kind" ||
            say "sandbox-pool.$kind could not be stopped; systemctl status sandbox-pool.$kind says why"
    done
    for file in "$(unit socket)" "$(unit service)" "$root$install_dir/sandbox-pool" "$(completions)" "$(pages)"/sandbox-pool*.1; do
        [[ ! -e $file ]] || run rm "$file"
    done
    run systemctl daemon-reload
    say "left as they are: $root/etc/sandbox-pool, $root/var/lib/sandbox-pool and the pool's containers; also gone with"
    say "  rm -r $root/etc/sandbox-pool $root/var/lib/sandbox-pool; userdel sandbox-pool"
    ! on_pve_node || say "  pveum user delete $user; for it in WarmPool WarmTemplate WarmStore WarmNet; do pveum role delete \$it; done; pveum pool delete $pool"
}

main() {
    read_arguments "$@"
    [[ -n $root || $dry_run == yes || $(id -u) == 0 ]] || fail "run it as root: $sudo$0, with the same options"
    if [[ $uninstall == yes ]]; then
        remove
        return
    fi
    have systemctl || [[ $dry_run == yes ]] || fail "there is no systemctl here: run it on a machine with systemd"
    find_binary
    find_url
    find_token
    # What the token may do follows the templates that are there now.
    if on_pve_node && [[ $pve_token == "$user!$token_id="* ]]; then
        make_roles
    fi
    make_user
    install_program
    write_settings
    write_units
    start_service
    check_health
    hint_at_caddy
}

main "$@"
