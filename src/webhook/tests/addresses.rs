//! Where webhooks may be sent: literal addresses in every form, names that resolve to private ones, ports.

use std::net::IpAddr;

use super::*;

fn check(allow: &[&str], url: &str) -> Result<(), Blocked> {
    let guard = Guard::new(allow.iter().map(|network| network.parse().unwrap()));
    guard.check(&url.parse().unwrap_or_else(|error| panic!("{url}: {error}")))
}

#[test]
fn public_addresses_and_names_are_fine_over_https() {
    for url in [
        "https://hooks.example.com/x",
        "https://8.8.8.8/",
        "https://1.1.1.1:8443/",
        "https://[2606:4700:4700::1111]/",
        "https://172.15.255.255/",
        "https://172.32.0.0/",
        "https://100.63.255.255/",
        "https://100.128.0.1/",
        "https://192.167.255.255/",
        "https://223.255.255.255/",
    ] {
        assert_eq!(check(&[], url), Ok(()), "{url}");
    }
}

#[test]
fn private_addresses_are_refused_in_whatever_form() {
    for url in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://172.16.0.1/",
        "https://172.31.255.255/",
        "https://192.0.0.8/",
        "https://192.0.2.1/",
        "https://192.88.99.1/",
        "https://192.168.1.1/",
        "https://198.18.0.1/",
        "https://198.19.255.255/",
        "https://198.51.100.7/",
        "https://203.0.113.9/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://１２７.0.0.1/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::10.0.0.1]/",
        "https://[64:ff9b:1::1]/",
        "https://[100::1]/",
        "https://[2001::1]/",
        "https://[2001:20::1]/",
        "https://[2001:db8::1]/",
        "https://[2002:7f00:1::1]/",
        "https://[3fff::1]/",
        "https://[5f00::1]/",
        "https://[fc00::1]/",
        "https://[fd12:3456::1]/",
        "https://[fe80::1]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
    ] {
        assert!(matches!(check(&[], url), Err(Blocked::Private(_))), "{url}: {:?}", check(&[], url));
    }
}

#[test]
fn a_network_is_allowed_by_name_and_then_in_plain_http_too() {
    let allow = ["10.0.0.0/8", "fd00::/8"];
    for url in [
        "http://10.1.2.3/",
        "https://10.1.2.3/",
        "http://[fd00::1]:9000/",
        "http://[::ffff:10.1.2.3]/",
        "http://hooks.lan/",
    ] {
        assert_eq!(check(&allow, url), Ok(()), "{url}");
    }
    for url in ["http://192.168.0.1/", "https://127.0.0.1/", "http://[fc00::1]/"] {
        assert!(matches!(check(&allow, url), Err(Blocked::Private(_))), "{url}");
    }
    assert_eq!(check(&allow, "http://8.8.8.8/"), Err(Blocked::Plain));
    assert_eq!(check(&[], "http://hooks.example.com/"), Err(Blocked::Plain));
}

#[test]
fn pves_port_users_and_other_schemes_are_never_sent_to() {
    let allow = ["0.0.0.0/0", "::/0"];
    for url in ["https://10.0.0.1:8006/", "http://hooks.example.com:8006/", "https://[fd00::1]:8006/"] {
        assert_eq!(check(&allow, url), Err(Blocked::PvePort), "{url}");
    }
    for url in ["https://user@hooks.example.com/", "https://:pass@8.8.8.8/", "https://8.8.8.8@10.0.0.1/"] {
        assert_eq!(check(&allow, url), Err(Blocked::User), "{url}");
    }
    for url in ["ftp://hooks.example.com/", "file:///etc/passwd", "gopher://10.0.0.1/", "data:x"] {
        assert_eq!(check(&allow, url), Err(Blocked::NotWeb), "{url}");
    }
}

/// One attempt to a name with these addresses; nothing listens at any of them but the receiver's.
async fn sent_to(allow: &[&str], url: &str, addresses: &[&str]) -> Ended {
    let found: Vec<std::net::SocketAddr> =
        addresses.iter().map(|address| (address.parse::<IpAddr>().unwrap(), 0).into()).collect();
    let lookup: client::Lookup = Arc::new(move |_| {
        let found = found.clone();
        async move { Ok(found) }.boxed()
    });
    let guard = Guard::new(allow.iter().map(|network| network.parse().unwrap()));
    let post = client::post(guard, &lookup).unwrap();
    let target = Endpoint { url: url.parse().unwrap(), timeout: Duration::from_secs(5), ..endpoint("a") };
    let message = Message::test(&target.name, Ulid::from_parts(1, 2), EPOCH);
    post(message.attempt(&Arc::new(target), EPOCH)).await
}

#[tokio::test]
async fn a_name_is_as_good_as_the_addresses_that_it_resolves_to() {
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1"] {
        let ended = sent_to(&[], "https://rebound.example.com/", &[address]).await;
        assert_eq!(ended.result, AttemptResult::Blocked, "{address}: {ended:?}");
        assert!(ended.reason.contains("rebound.example.com") && ended.reason.contains(address), "{ended:?}");
    }
    let none = sent_to(&[], "https://nowhere.example.com/", &[]).await;
    assert_eq!(none.result, AttemptResult::Blocked);
    // Plain http is for allowed networks, whatever the name.
    let plain = sent_to(&["10.0.0.0/8"], "http://public.example.com/", &["8.8.8.8"]).await;
    assert_eq!(plain.result, AttemptResult::Blocked, "{plain:?}");
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_ones_are_connected_to() {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let bystander = tokio::net::TcpListener::bind(("127.0.0.1", listener.local_addr().unwrap().port())).await;
    let url = format!("http://both.example.com:{}/", listener.local_addr().unwrap().port());
    let sent =
        tokio::spawn(async move { sent_to(&["127.0.0.2/32"], &url, &["127.0.0.1", "127.0.0.2"]).await });
    drop(listener.accept().await.unwrap());
    assert_eq!(sent.await.unwrap().result, AttemptResult::Unreachable);
    if let Ok(bystander) = bystander {
        assert!(bystander.accept().now_or_never().is_none(), "nobody came by");
    }
}

#[tokio::test]
async fn literal_addresses_do_not_get_past_by_not_being_names() {
    for url in ["https://127.0.0.1:1/", "https://[::1]:1/", "https://0x7f.1:1/"] {
        assert_eq!(sent_to(&[], url, &["8.8.8.8"]).await.result, AttemptResult::Blocked, "{url}");
    }
}
