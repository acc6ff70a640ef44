//! Threads that take random time for random jobs, on a clock of their own.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lipbound_jobs::{LaneId, Lanes, Queue, Ticket};
use proptest::prelude::*;

fn micros(time: u64) -> Duration {
    Duration::from_micros(time)
}

#[derive(Clone, Copy, Debug)]
struct Job {
    lane: usize,
    /// Its place in its lane.
    number: usize,
    takes: u64,
}

/// A job that was started, with the times of its beginning and its end.
#[derive(Clone, Copy, Debug)]
struct Done {
    job: Job,
    began: u64,
    ended: u64,
}

/// Threads that work on lanes.
struct Machine {
    threads: usize,
    lanes: Lanes<Job>,
    ids: Vec<LaneId>,
    running: Vec<(u64, Ticket)>,
    done: Vec<Done>,
    now: u64,
}

impl Machine {
    fn new(threads: usize, lanes: usize) -> Self {
        Self {
            threads,
            lanes: Lanes::new(),
            ids: (0..lanes).map(|_| LaneId::unique()).collect(),
            running: Vec::new(),
            done: Vec::new(),
            now: 0,
        }
    }

    fn push(&mut self, job: Job) {
        self.lanes.push(self.ids[job.lane], job, micros(self.now));
    }

    /// Gives jobs to all threads that are idle.
    fn start(&mut self) {
        while self.running.len() < self.threads {
            let Some((ticket, job)) = self.lanes.start(micros(self.now)) else { break };
            let (began, ended) = (self.now, self.now + job.takes);
            self.running.push((ended, ticket));
            self.done.push(Done { job, began, ended });
        }
    }

    /// When the next job ends, if one runs.
    fn next_end(&self) -> Option<u64> {
        self.running.iter().map(|&(end, _)| end).min()
    }

    /// Lets time go by, ending and starting jobs as it does.
    fn run_until(&mut self, time: u64) {
        self.start();
        while let Some(end) = self.next_end().filter(|&end| end <= time) {
            self.now = end;
            let place = self.running.iter().position(|&(e, _)| e == end).unwrap();
            let (_, ticket) = self.running.swap_remove(place);
            self.lanes.end(ticket, micros(end));
            self.start();
        }
        self.now = self.now.max(time);
    }

    /// Thread time of each lane up to a moment.
    fn used(&self, time: u64) -> Vec<u64> {
        let mut used = vec![0; self.ids.len()];
        for done in &self.done {
            used[done.job.lane] += done.ended.min(time).saturating_sub(done.began);
        }
        used
    }
}

/// Jobs with the lane, the time at which they come, and how long they take.
fn arrivals(lanes: usize) -> impl Strategy<Value = Vec<(usize, u64, u64)>> {
    // Lanes differ: some have long jobs, some short ones.
    prop::collection::vec((0..lanes, 0u64..20_000, 1u64..1000, 0u32..4), 1..200).prop_map(|jobs| {
        let mut jobs: Vec<_> =
            jobs.into_iter().map(|(lane, at, takes, scale)| (lane, at, takes * 10u64.pow(scale % 3))).collect();
        jobs.sort_by_key(|&(_, at, _)| at);
        jobs
    })
}

proptest! {
    #[test]
    fn every_job_runs_once_and_in_the_order_of_its_lane(threads in 1usize..5, jobs in arrivals(6)) {
        let mut machine = Machine::new(threads, 6);
        let mut counts = [0; 6];
        for &(lane, at, takes) in &jobs {
            machine.run_until(at);
            machine.push(Job { lane, number: counts[lane], takes });
            counts[lane] += 1;
        }
        machine.run_until(u64::MAX / 2);
        prop_assert_eq!(machine.done.len(), jobs.len());
        let mut next = [0; 6];
        for done in &machine.done {
            prop_assert_eq!(done.job.number, next[done.job.lane]);
            next[done.job.lane] += 1;
        }
        prop_assert_eq!(next, counts);
        prop_assert!(machine.lanes.is_empty(), "{} lanes are left", machine.lanes.len());
    }

    #[test]
    fn no_thread_is_idle_while_a_job_waits(threads in 1usize..5, jobs in arrivals(4)) {
        let mut machine = Machine::new(threads, 4);
        for (number, &(lane, at, takes)) in jobs.iter().enumerate() {
            machine.run_until(at);
            machine.push(Job { lane, number, takes });
            machine.start();
            let (came, started) = (number + 1, machine.done.len());
            prop_assert!(machine.running.len() == threads || started == came);
        }
    }

    #[test]
    fn lanes_that_are_always_busy_have_equal_shares(
        threads in 1usize..5,
        longest in prop::collection::vec(1u64..5000, 2..5),
        jobs in prop::collection::vec(1u64..1_000_000, 300),
    ) {
        let mut machine = Machine::new(threads, longest.len());
        for (number, &draw) in jobs.iter().enumerate() {
            for (lane, &longest) in longest.iter().enumerate() {
                machine.push(Job { lane, number, takes: 1 + (draw * (lane as u64 + 7)) % longest });
            }
        }
        machine.run_until(u64::MAX / 2);
        let last_start = |lane| machine.done.iter().filter(|d| d.job.lane == lane).map(|d| d.began).max().unwrap();
        // From here on a lane has nothing that waits.
        let end = (0..longest.len()).map(last_start).min().unwrap();
        let most = threads as u64 * longest.iter().max().unwrap();
        for time in (0..=40).map(|k| end * k / 40) {
            let used = machine.used(time);
            let (least, greatest) = (used.iter().min().unwrap(), used.iter().max().unwrap());
            prop_assert!(greatest - least <= most, "{used:?} at {time}: more than {most} apart");
        }
    }

    #[test]
    fn who_comes_anew_waits_for_few(threads in 1usize..5, jobs in arrivals(5), at in 0u64..20_000) {
        let mut machine = Machine::new(threads, 6);
        for (number, &(lane, came, takes)) in jobs.iter().enumerate() {
            if came <= at {
                machine.run_until(came);
                machine.push(Job { lane, number, takes });
            }
        }
        machine.run_until(at);
        machine.push(Job { lane: 5, number: 0, takes: 1 });
        let before = machine.done.len();
        // Others come too, all the time.
        for &(lane, came, takes) in jobs.iter().filter(|&&(_, came, _)| came > at) {
            machine.run_until(came);
            machine.push(Job { lane, number: usize::MAX, takes });
        }
        machine.run_until(u64::MAX / 2);
        let mut overtook: HashMap<usize, usize> = HashMap::new();
        for done in machine.done[before..].iter().take_while(|done| done.job.lane != 5) {
            *overtook.entry(done.job.lane).or_default() += 1;
        }
        prop_assert!(overtook.values().all(|&n| n <= threads), "{overtook:?} with {threads} threads");
    }
}

/// One lane always has exactly one job, and a long one; the other always has many short ones.
#[test]
fn a_lane_that_runs_empty_is_not_forgiven() {
    let mut machine = Machine::new(1, 2);
    for number in 0..5000 {
        machine.push(Job { lane: 1, number, takes: 10 });
    }
    for number in 0..10 {
        machine.push(Job { lane: 0, number, takes: 1000 });
        while machine.done.iter().filter(|d| d.job.lane == 0).count() <= number {
            machine.run_until(machine.next_end().unwrap_or(machine.now));
        }
        machine.run_until(machine.next_end().unwrap());
    }
    let used = machine.used(machine.now);
    assert!(used[0].abs_diff(used[1]) <= 1000 + 10, "{used:?}");
}

#[test]
fn having_been_idle_is_no_credit() {
    let mut machine = Machine::new(1, 2);
    for number in 0..2000 {
        machine.push(Job { lane: 0, number, takes: 10 });
    }
    machine.run_until(10_000);
    for number in 0..1000 {
        machine.push(Job { lane: 1, number, takes: 10 });
    }
    let before = machine.used(10_000);
    machine.run_until(14_000);
    let used = machine.used(14_000);
    assert!((used[0] - before[0]).abs_diff(used[1]) <= 20, "{before:?}, then {used:?}");
}

#[test]
fn thousands_of_lanes_leave_nothing() {
    let mut machine = Machine::new(2, 10_000);
    for number in 0..10_000 {
        machine.push(Job { lane: 0, number, takes: 100 });
    }
    for lane in 1..10_000 {
        machine.push(Job { lane, number: 0, takes: 10 });
        machine.run_until(machine.now + 20);
        assert!(machine.lanes.len() <= 20, "{} lanes", machine.lanes.len());
    }
    machine.run_until(u64::MAX / 2);
    assert!(machine.lanes.is_empty());
}

#[test]
fn threads_run_everything_that_was_queued() {
    let count = AtomicUsize::new(0);
    let orders = [(); 3].map(|()| Mutex::new(Vec::new()));
    let queue = Queue::new();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                queue.work(|job: Box<dyn FnOnce() + Send + '_>| job());
            });
        }
        let ids = [(); 3].map(|()| LaneId::unique());
        for number in 0..300 {
            let (lane, count, order) = (number % 3, &count, &orders[number % 3]);
            queue.push(
                ids[lane],
                Box::new(move || {
                    order.lock().unwrap().push(number);
                    count.fetch_add(1, Ordering::Relaxed);
                }),
            );
        }
        queue.close();
    });
    assert_eq!(count.load(Ordering::Relaxed), 300);
    for order in &orders {
        let mut order = order.lock().unwrap();
        order.sort_unstable();
        assert_eq!(order.len(), 100);
        order.dedup();
        assert_eq!(order.len(), 100);
    }
}

/// A queue that is worked on by so many threads, all of which sleep before the first job comes and after each.
#[test]
fn threads_that_sleep_are_woken_by_a_job_and_by_the_end() {
    let queue = Queue::new();
    let idle = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| queue.work(|job: Box<dyn FnOnce() + Send + '_>| job()));
        }
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            let (sender, receiver) = std::sync::mpsc::channel();
            queue.push(LaneId::COMMON, Box::new(move || sender.send(()).unwrap()));
            // Waits for ever if nobody is woken.
            receiver.recv().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
        let idle = queue.is_idle();
        queue.close();
        idle
    });
    assert!(idle, "what has ended is charged and forgotten");
}

/// The clock of a lane that runs a long job goes on: who comes in the middle of it starts there.
#[test]
fn who_comes_during_a_long_job_has_no_credit_for_it() {
    let mut lanes = Lanes::new();
    let [busy, newcomer] = [(); 2].map(|()| LaneId::unique());
    let start = |lanes: &mut Lanes<&'static str>, at: u64| lanes.start(micros(at)).unwrap();
    lanes.push(busy, "long", micros(0));
    let (long, _) = start(&mut lanes, 0);
    for _ in 0..100 {
        lanes.push(newcomer, "new", micros(1000));
        lanes.push(busy, "old", micros(1000));
    }
    lanes.end(long, micros(1000));
    let mut now = 1000;
    let mut order = Vec::new();
    for _ in 0..20 {
        let (ticket, name) = start(&mut lanes, now);
        now += 10;
        lanes.end(ticket, micros(now));
        order.push(name);
    }
    let new = order.iter().filter(|&&name| name == "new").count();
    assert!((9..=11).contains(&new), "{order:?}");
}

/// A running job counts with what its lane takes as a rule, or all jobs do, before it has taken that.
#[test]
fn what_runs_is_expected_to_take_what_its_lane_takes() {
    let [dear, cheap] = [(); 2].map(|()| LaneId::unique());
    let mut lanes = Lanes::new();
    for _ in 0..200 {
        lanes.push(dear, dear, micros(0));
        lanes.push(cheap, cheap, micros(0));
    }
    // One thread learns what jobs take.
    let mut now = 0;
    for _ in 0..60 {
        let (ticket, lane) = lanes.start(micros(now)).unwrap();
        now += if lane == dear { 1000 } else { 100 };
        lanes.end(ticket, micros(now));
    }
    // Then many ask at once: a job of the dear lane weighs as much as ten of the cheap one.
    let mut started = HashMap::new();
    let tickets: Vec<_> = (0..22)
        .map(|_| {
            let (ticket, lane) = lanes.start(micros(now)).unwrap();
            *started.entry(lane).or_insert(0) += 1;
            ticket
        })
        .collect();
    assert!(started[&cheap] >= 15 && started[&dear] >= 1, "{} dear, {} cheap", started[&dear], started[&cheap]);
    for ticket in tickets {
        lanes.end(ticket, micros(now + 1));
    }
}
