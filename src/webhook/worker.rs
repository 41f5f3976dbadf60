//! The worker of one endpoint: reads the log behind its cursor, sends, and tells the engine what came of it.
//!
//! It is woken by the engine's watch and by its own appointments. It decides nothing that outlives it: pauses,
//! parked events and replays are State, and what it notes goes through the engine like everything else. Each
//! endpoint has its own, so that one that is slow or dead costs the others nothing.

mod landing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::client::Post;
use super::endpoint::Endpoint;
use super::figures::Figures;
use super::health::{Health, IN_FLIGHT};
use super::lanes::{Job, Lanes, Waiting, What};
use super::message::Message;
use super::owners::Owners;
use super::schedule::Ended;
use super::source::{self, Wish};
use crate::clock::{Clock, Stopwatch};
use crate::domain::event::Event;
use crate::domain::ids::{Lane, Seq};
use crate::domain::state::State;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{self, MAX_HELD};
use crate::engine::{Engine, Published};
use crate::log::{ReadError, Reader, Record};

/// Passing over so many events of others is progress too: the log may be cut behind cursors only.
const SKIPPED_WORTH_A_CHECKPOINT: u64 = 1000;

/// What the log or the engine did not do is tried again after this.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What a worker is given.
pub(super) struct Worker {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) figures: Arc<Figures>,
    pub(super) engine: Engine,
    pub(super) reader: Reader,
    pub(super) clock: Clock,
    pub(super) chance: fastrand::Rng,
    pub(super) post: Post,
}

/// A delivery that ended.
struct Landed {
    /// The replay that it is of; none for the live stream.
    replay: Option<Seq>,
    lane: Lane,
    found: Found,
}

enum Found {
    /// The lane has nothing more up to here.
    Nothing { upto: Seq },
    /// The log cannot be read.
    Unreadable(ReadError),
    /// An attempt was made.
    Attempt { record: Arc<Record>, ended: Ended, took: Duration },
}

type Flights = FuturesUnordered<BoxFuture<'static, Landed>>;

/// A replay under way.
struct ReplayRun {
    id: Seq,
    upto: Seq,
    wish: Wish,
    owners: Owners,
    lanes: Lanes,
    delivered: u64,
    failed: u64,
}

/// A worker at work.
struct Run {
    it: Worker,
    wish: Wish,
    live: Lanes,
    replay: Option<ReplayRun>,
    health: Health,
    active: bool,
    /// What pauses, parked events and replays were taken from.
    state: Arc<State>,
    head: Seq,
    owners: Owners,
    /// When the last event that was read was decided; before any was, the first one to be read.
    read_at: Timestamp,
    /// There is progress that is not an event yet.
    dirty: bool,
    skipped: u64,
    noted_at: Timestamp,
    /// Neither read the log nor bother the engine before.
    not_before: Timestamp,
}

impl Worker {
    /// Works until it is told to stop, or the engine ends.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut watch = self.engine.watch();
        let state = watch.borrow_and_update().state.clone();
        let mut run = Run::new(self, state).await;
        let mut flights = Flights::new();
        loop {
            run.look(&watch.borrow_and_update().clone());
            let more = run.fill().await;
            run.begin(&flights);
            run.end_replay().await;
            run.show();
            let wake = run.wake_at();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(landed) = flights.next() => run.landed(landed).await,
                changed = watch.changed() => if changed.is_err() { return },
                () = std::future::ready(()), if more => {}
                () = run.it.clock.sleep_until_any(wake) => {}
            }
            run.note_if_due().await;
        }
        run.stop(flights, watch).await;
    }
}

impl Run {
    async fn new(it: Worker, state: Arc<State>) -> Self {
        let known = state.webhooks.get(&it.endpoint.name).cloned().unwrap_or_default();
        let mut live = Lanes::from(known.cursor);
        for (lane, held) in &known.held {
            let &webhook::Held { from, attempt, retry_at, behind, .. } = held;
            let at = source::time_of(&it.reader, from).await;
            live.hold(lane.clone(), Waiting { from, attempt, retry_at, early: false, behind, at });
        }
        for (lane, parked) in &known.parked {
            live.restore_parked(lane.clone(), parked.seq, parked.behind);
        }
        let now = it.clock.now();
        let read_at = source::time_of(&it.reader, known.cursor.next()).await.unwrap_or(now);
        Self {
            wish: Wish { endpoint: Arc::clone(&it.endpoint), types: Arc::default() },
            live,
            replay: None,
            health: Health::failing_since(known.failing.map(|failing| failing.since), now),
            active: known.paused.is_none() && known.disabled.is_none(),
            head: state.head,
            owners: Owners::behind(known.cursor, &state),
            state,
            read_at,
            dirty: false,
            skipped: 0,
            noted_at: now,
            not_before: now,
            it,
        }
    }

    /// Takes in what was decided about the endpoint.
    fn look(&mut self, published: &Published) {
        (self.state, self.head) = (Arc::clone(&published.state), published.head);
        let state = Arc::clone(&self.state);
        let Some(known) = state.webhook(&self.it.endpoint.name) else {
            self.active = false;
            return;
        };
        let active = known.is_active();
        let resumed = active && (!self.active || self.health.reported && known.failing.is_none());
        self.active = active;
        self.it.figures.paused.store(known.paused.is_some(), Ordering::Relaxed);
        self.it.figures.disabled.store(known.disabled.is_some(), Ordering::Relaxed);
        if resumed {
            self.health.forget();
            self.live.bring_forward();
        }
        let now = self.it.clock.now();
        let parked = self.live.parked().keys();
        let left: Vec<Lane> = parked.filter(|lane| !known.parked.contains_key(*lane)).cloned().collect();
        for lane in left {
            let from = known.held.get(&lane).map_or(self.live.read.next(), |held| held.from);
            self.live.release(&lane, from, now);
            self.dirty = true;
        }
        self.follow_replay(known);
    }

    fn follow_replay(&mut self, known: &webhook::Webhook) {
        let first = known.replays.first();
        if self.replay.as_ref().map(|run| run.id) == first.map(|replay| replay.id) {
            return;
        }
        self.replay = first.map(|replay| ReplayRun {
            id: replay.id,
            upto: replay.upto,
            wish: Wish { endpoint: Arc::clone(&self.it.endpoint), types: replay.types.as_slice().into() },
            owners: Owners::behind(replay.cursor, &self.state),
            lanes: Lanes::from(replay.cursor),
            delivered: replay.delivered,
            failed: replay.failed,
        });
    }

    /// Reads on where there is room: whether there is more to read at once. What waits for a resumption is read
    /// too, so that it can be told how much of it is wanted.
    async fn fill(&mut self) -> bool {
        if self.it.clock.now() < self.not_before {
            return false;
        }
        let live = self.fill_live().await;
        let replay = self.active && self.fill_replay().await;
        live || replay
    }

    async fn fill_live(&mut self) -> bool {
        let room = self.live.room(MAX_HELD);
        if room == 0 || self.live.read >= self.head {
            return false;
        }
        let page = match source::page(&self.it.reader, self.live.read, room, self.head).await {
            Ok(page) => page,
            Err(error) => {
                if let Some(after) = self.unreadable(&error) {
                    self.live.read = after.max(self.live.read);
                }
                return false;
            }
        };
        for record in page {
            let wanted = match self.wish.wants(&self.it.reader, &mut self.owners, &record.envelope).await {
                Ok(wanted) => wanted,
                Err(error) => {
                    let _ = self.unreadable(&error);
                    return false;
                }
            };
            self.read_at = record.envelope.at;
            let own = matches!(record.envelope.event, Event::WebhookCheckpointed(_));
            self.skipped += u64::from(!wanted && !own);
            self.live.take(record, wanted);
        }
        let behind = self.live.parked().values().any(|behind| behind.changed);
        self.dirty |= behind || self.skipped >= SKIPPED_WORTH_A_CHECKPOINT;
        self.live.read < self.head && self.live.room(MAX_HELD) > 0
    }

    async fn fill_replay(&mut self) -> bool {
        let Some(mut run) = self.replay.take() else { return false };
        let read = run.read_on(&self.it.reader).await;
        if let Err(error) = read
            && let Some(after) = self.unreadable(&error)
        {
            run.lanes.read = after.max(run.lanes.read).min(run.upto);
        }
        let more = run.lanes.read < run.upto && run.lanes.room(MAX_HELD) > 0;
        self.replay = Some(run);
        more && self.it.clock.now() >= self.not_before
    }

    /// Where to go on, if what was wanted is not kept any more.
    fn unreadable(&mut self, error: &ReadError) -> Option<Seq> {
        let endpoint = &self.it.endpoint.name;
        if let ReadError::Pruned { oldest } = error {
            tracing::error!(%endpoint, %oldest, "events that were not sent yet are not kept any more");
            return Some(Seq(oldest.0 - 1));
        }
        tracing::error!(%endpoint, error = %error, "the event log cannot be read for a webhook");
        self.not_before = self.it.clock.now().after(TRY_AGAIN);
        None
    }

    /// Begins the deliveries that may be under way.
    fn begin(&mut self, flights: &Flights) {
        let now = self.it.clock.now();
        if !self.active || self.health.left_alone_until(now).is_some() || now < self.not_before {
            return;
        }
        loop {
            let replay_busy = self.replay.as_ref().map_or(0, |run| run.lanes.busy());
            let busy = self.live.busy() + replay_busy;
            if busy >= IN_FLIGHT {
                return;
            }
            let probe = self.health.may_probe(busy, now);
            let held = self.live.held().len();
            let new_lanes = held < MAX_HELD && (probe || self.health.may_begin(busy));
            if let Some(job) = self.live.next(now, new_lanes) {
                if probe && matches!(job.what, What::Record(_)) {
                    self.health.probed(now);
                }
                flights.push(self.flight(job, None, &self.wish));
                continue;
            }
            let Some(run) = &mut self.replay else { return };
            let new_lanes = run.lanes.held().len() < MAX_HELD && self.health.may_begin(busy);
            let Some(job) = run.lanes.next(now, new_lanes) else { return };
            let (id, wish) = (run.id, run.wish.clone());
            flights.push(self.flight(job, Some(id), &wish));
        }
    }

    fn flight(&self, job: Job, replay: Option<Seq>, wish: &Wish) -> BoxFuture<'static, Landed> {
        let (reader, clock, post) = (self.it.reader.clone(), self.it.clock, Arc::clone(&self.it.post));
        let (wish, Job { lane, what }) = (wish.clone(), job);
        let state = Arc::clone(&self.state);
        async move {
            let found = match what {
                What::Record(record) => Ok(Ok(record)),
                What::Find { from, upto } => {
                    let owners = Owners::of_lane(&lane, Seq(from.0.saturating_sub(1)), &state);
                    let found = source::find(&reader, &wish, &lane, owners, from, upto).await;
                    found.map(|found| found.ok_or(upto))
                }
            };
            let found = match found {
                Err(error) => Found::Unreadable(error),
                Ok(Err(upto)) => Found::Nothing { upto },
                Ok(Ok(record)) => {
                    let watch = Stopwatch::start();
                    let attempt = Message::of(&record).attempt(&wish.endpoint, clock.now());
                    let ended = post(attempt).await;
                    Found::Attempt { record, ended, took: watch.elapsed() }
                }
            };
            Landed { replay, lane, found }
        }
        .boxed()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        let now = self.it.clock.now();
        let checkpoint = self.note_at();
        if !self.active {
            return checkpoint;
        }
        let replay = self.replay.as_ref().and_then(|run| run.lanes.next_due(now));
        let again = Some(self.not_before).filter(|at| *at > now);
        let probe = self.health.next_probe(now).filter(|_| self.live.has_new());
        [checkpoint, probe, self.live.next_due(now), replay, self.health.left_alone_until(now), again]
            .into_iter()
            .flatten()
            .min()
    }

    /// Shows how it stands.
    fn show(&self) {
        let figures = &self.it.figures;
        let (waiting, oldest) = self.live.pending();
        let unread = self.head.0.saturating_sub(self.live.read.0);
        let oldest = oldest.or((unread > 0).then_some(self.read_at));
        let replay = self.replay.as_ref();
        let in_flight = self.live.busy() + replay.map_or(0, |run| run.lanes.busy());
        figures.cursor.store(self.live.cursor().0, Ordering::Relaxed);
        figures.lag_events.store(waiting + unread, Ordering::Relaxed);
        figures.oldest.store(oldest.map_or(0, |at| at.0), Ordering::Relaxed);
        figures.held.store(self.live.held().len() as u64, Ordering::Relaxed);
        figures.parked.store(self.live.parked().len() as u64, Ordering::Relaxed);
        figures.in_flight.store(in_flight as u64, Ordering::Relaxed);
        let left_alone = self.health.left_alone_until(self.it.clock.now());
        figures.left_alone_until.store(left_alone.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    fn lanes(&mut self, replay: Option<Seq>) -> &mut Lanes {
        match &mut self.replay {
            Some(run) if replay.is_some() => &mut run.lanes,
            Some(_) | None => &mut self.live,
        }
    }
}

impl ReplayRun {
    /// Reads on, if there is room.
    async fn read_on(&mut self, reader: &Reader) -> Result<(), ReadError> {
        let room = self.lanes.room(MAX_HELD);
        if room == 0 || self.lanes.read >= self.upto {
            return Ok(());
        }
        for record in source::page(reader, self.lanes.read, room, self.upto).await? {
            let wanted = self.wish.wants(reader, &mut self.owners, &record.envelope).await?;
            self.lanes.take(record, wanted);
        }
        Ok(())
    }
}
