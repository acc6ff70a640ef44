//! Who is next: start-time fair queueing, measured in thread time.
//!
//! Every lane has a clock: the thread time it has used, counted from a common origin. The lane whose clock is behind all
//! others goes next; inside a lane, first come is first served. Jobs cannot be interrupted and nobody knows how long one
//! will take, so a running job counts with the mean of its lane until it has taken longer than that.
//!
//! A lane that becomes busy starts at the smallest clock of the busy lanes at least: having been idle is no credit. A lane
//! that was ahead of them when it ran empty is remembered until they have caught up; otherwise one that always has a single
//! job, and takes long for it, would be served as if it had taken nothing. Nothing else outlives its jobs.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Names a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(u64);

impl LaneId {
    /// For what has no lane of its own.
    pub const COMMON: Self = Self(0);

    /// One that no other call has given.
    #[must_use]
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Of a job that was started: to be given back when it has ended.
#[derive(Debug)]
#[must_use = "a job counts as running until its ticket is given back"]
pub struct Ticket {
    lane: LaneId,
    number: u64,
}

/// A mean that forgets: each new value counts for a quarter.
#[derive(Clone, Copy, Debug, Default)]
struct Mean(Option<Duration>);

impl Mean {
    fn add(&mut self, value: Duration) {
        self.0 = Some(self.0.map_or(value, |mean| mean * 3 / 4 + value / 4));
    }
}

#[derive(Debug)]
struct Lane<J> {
    /// Its clock, without the jobs that run.
    used: Duration,
    waiting: VecDeque<J>,
    /// Number of each running job, and when it began.
    running: Vec<(u64, Duration)>,
    mean: Mean,
    /// When it was served last, among lanes whose clocks are equal.
    turn: u64,
}

impl<J> Lane<J> {
    /// Its clock, with what jobs that run have taken so far.
    fn clock(&self, now: Duration) -> Duration {
        self.used + self.running.iter().map(|(_, began)| now.saturating_sub(*began)).sum::<Duration>()
    }

    /// Its clock if each job that runs takes `expected`, or as long as it has taken already.
    fn charged(&self, expected: Duration, now: Duration) -> Duration {
        self.used + self.running.iter().map(|(_, began)| now.saturating_sub(*began).max(expected)).sum::<Duration>()
    }
}

/// Jobs in lanes, and whose turn it is.
///
/// `now` is the time since any fixed moment; it must not go back.
#[derive(Debug)]
pub struct Lanes<J> {
    lanes: HashMap<LaneId, Lane<J>>,
    /// Lanes whose jobs all wait, by their clocks.
    ready: BTreeSet<(Duration, u64, LaneId)>,
    /// Lanes with running jobs: never more than threads.
    active: Vec<LaneId>,
    /// Lanes without jobs that are ahead of the busy ones, by their clocks.
    ahead: BTreeSet<(Duration, LaneId)>,
    /// Of all jobs, for lanes without a mean of their own.
    mean: Mean,
    started: u64,
}

impl<J> Default for Lanes<J> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            active: Vec::new(),
            ahead: BTreeSet::new(),
            mean: Mean::default(),
            started: 0,
        }
    }
}

impl<J> Lanes<J> {
    /// No lanes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lanes that are known: those with jobs, and those that are remembered to be ahead.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether nothing waits, runs or is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The smallest clock of the lanes that have jobs, if any has.
    fn floor(&self, now: Duration) -> Option<Duration> {
        let active = self.active.iter().map(|id| self.lanes[id].clock(now)).min();
        let ready = self.ready.first().map(|&(clock, _, _)| clock);
        active.into_iter().chain(ready).min()
    }

    /// Adds a job at the end of a lane.
    pub fn push(&mut self, id: LaneId, job: J, now: Duration) {
        // Without a busy lane every one is forgotten, so that any origin of clocks will do.
        let floor = self.floor(now).unwrap_or_default();
        let lane = self.lanes.entry(id).or_insert_with(|| Lane {
            used: floor,
            waiting: VecDeque::new(),
            running: Vec::new(),
            mean: Mean::default(),
            turn: 0,
        });
        if lane.waiting.is_empty() && lane.running.is_empty() {
            self.ahead.remove(&(lane.used, id));
            lane.used = lane.used.max(floor);
            self.ready.insert((lane.used, lane.turn, id));
        }
        lane.waiting.push_back(job);
    }

    /// Starts the job whose turn it is, if one waits.
    pub fn start(&mut self, now: Duration) -> Option<(Ticket, J)> {
        let (_, _, id) = self
            .active
            .iter()
            .map(|&id| (id, &self.lanes[&id]))
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .map(|(id, lane)| (lane.charged(lane.mean.0.or(self.mean.0).unwrap_or_default(), now), lane.turn, id))
            .chain(self.ready.first().copied())
            .min()?;
        let lane = self.lanes.get_mut(&id)?;
        let job = lane.waiting.pop_front()?;
        if lane.running.is_empty() {
            self.ready.remove(&(lane.used, lane.turn, id));
            self.active.push(id);
        }
        self.started += 1;
        lane.turn = self.started;
        lane.running.push((self.started, now));
        Some((Ticket { lane: id, number: self.started }, job))
    }

    /// Charges a job that has ended.
    ///
    /// # Panics
    /// If the ticket is from other lanes.
    pub fn end(&mut self, ticket: Ticket, now: Duration) {
        let Ticket { lane: id, number } = ticket;
        let lane = self.lanes.get_mut(&id).expect("a lane with a running job is known");
        let place = lane.running.iter().position(|&(n, _)| n == number).expect("the job runs");
        let (_, began) = lane.running.swap_remove(place);
        let took = now.saturating_sub(began);
        lane.used += took;
        lane.mean.add(took);
        self.mean.add(took);
        if lane.running.is_empty() {
            self.active.retain(|&other| other != id);
            if lane.waiting.is_empty() {
                self.ahead.insert((lane.used, id));
            } else {
                self.ready.insert((lane.used, lane.turn, id));
            }
        }
        self.forget(now);
    }

    /// Forgets lanes without jobs that are not ahead any more.
    fn forget(&mut self, now: Duration) {
        let floor = self.floor(now);
        while let Some(&(clock, id)) = self.ahead.first()
            && floor.is_none_or(|floor| clock <= floor)
        {
            self.ahead.pop_first();
            self.lanes.remove(&id);
        }
    }
}
