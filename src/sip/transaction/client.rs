//! The non-INVITE client transaction (RFC 3261 §17.1.2 figure 6).
//!
//! ```text
//! Trying --1xx--> Proceeding     Trying, Proceeding --200-699--> Completed --K--> Terminated
//! Trying, Proceeding --F, transport error--> Terminated
//! ```

use std::time::Duration;

use super::{ClientStep, Deadlines, PATIENCE, Reliability, T1, T2, T4, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// One machine; made when its request is sent for the first time.
#[derive(Debug)]
pub struct Client {
    state: State,
    reliability: Reliability,
    patience: Duration,
    /// Timer E's next interval.
    interval: Duration,
}

impl Client {
    /// `patience`: until the first response; from then on the RFC's own.
    pub fn start(
        reliability: Reliability,
        patience: Duration,
        deadlines: &mut Deadlines<'_>,
    ) -> Self {
        if reliability == Reliability::Unreliable {
            deadlines.arm(Timer::E, T1);
        }
        deadlines.arm(Timer::F, patience);
        Self { state: State::Trying, reliability, patience, interval: T1 }
    }

    /// A response with this status came.
    pub fn receive(&mut self, status: u16, deadlines: &mut Deadlines<'_>) -> ClientStep {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                if self.state == State::Trying && self.patience < PATIENCE {
                    deadlines.arm(Timer::F, PATIENCE);
                }
                self.state = State::Proceeding;
                ClientStep::Deliver
            }
            (State::Trying | State::Proceeding, _) => {
                self.state = State::Completed;
                deadlines.disarm(Timer::E);
                deadlines.disarm(Timer::F);
                deadlines.arm(Timer::K, self.reliability.linger(T4));
                ClientStep::DeliverFinal
            }
            (State::Completed | State::Terminated, _) => ClientStep::Ignore,
        }
    }

    pub fn fire(&mut self, timer: Timer, deadlines: &mut Deadlines<'_>) -> ClientStep {
        match (self.state, timer) {
            (State::Trying, Timer::E) => {
                self.interval = (self.interval * 2).min(T2);
                deadlines.arm(Timer::E, self.interval);
                ClientStep::SendAgain
            }
            (State::Proceeding, Timer::E) => {
                deadlines.arm(Timer::E, T2);
                ClientStep::SendAgain
            }
            (State::Trying | State::Proceeding, Timer::F) => {
                self.state = State::Terminated;
                deadlines.disarm(Timer::E);
                ClientStep::TimedOut
            }
            (State::Completed, Timer::K) => {
                self.state = State::Terminated;
                ClientStep::End
            }
            _ => ClientStep::Ignore,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    fn unreliable() -> (Bench, Client) {
        let mut bench = Bench::new();
        let machine = Client::start(Reliability::Unreliable, PATIENCE, &mut bench.deadlines());
        (bench, machine)
    }

    #[test]
    fn request_is_sent_again_at_doubling_intervals_up_to_t2() {
        let (mut bench, mut machine) = unreliable();
        let mut seen = Vec::new();
        while let Some((timer, at)) = bench.next() {
            seen.push((timer, at));
            machine.fire(timer, &mut bench.deadlines());
        }
        // RFC 3261 §17.1.2.2: 500 ms, 1 s, 2 s, 4 s, 4 s, ... until 64 × T1.
        let times = [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500];
        let mut expected: Vec<_> = times.iter().map(|at| (Timer::E, *at)).collect();
        expected.push((Timer::F, 32000));
        assert_eq!(seen, expected);
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn proceeding_request_is_sent_again_every_t2_and_still_given_up() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.receive(100, &mut bench.deadlines()), ClientStep::Deliver);
        assert_eq!(bench.next(), Some((Timer::E, 500)));
        assert_eq!(machine.fire(Timer::E, &mut bench.deadlines()), ClientStep::SendAgain);
        assert_eq!(bench.next(), Some((Timer::E, 4500)));
        assert_eq!(machine.receive(100, &mut bench.deadlines()), ClientStep::Deliver);
        let mut last = None;
        while let Some((timer, at)) = bench.next() {
            last = Some((timer, at, machine.fire(timer, &mut bench.deadlines())));
        }
        assert_eq!(last, Some((Timer::F, 32000, ClientStep::TimedOut)));
    }

    #[test]
    fn short_patience_ends_with_the_first_response() {
        let early = Duration::from_secs(5);
        for (status, end) in [(None, 5000), (Some(100), 32_000)] {
            let mut bench = Bench::new();
            let mut machine = Client::start(Reliability::Reliable, early, &mut bench.deadlines());
            if let Some(status) = status {
                machine.receive(status, &mut bench.deadlines());
            }
            assert_eq!(bench.next(), Some((Timer::F, end)));
        }
    }

    #[test]
    fn final_response_is_delivered_once_and_lingers_for_t4() {
        for early in [None, Some(100)] {
            let (mut bench, mut machine) = unreliable();
            if let Some(status) = early {
                machine.receive(status, &mut bench.deadlines());
            }
            assert_eq!(machine.receive(200, &mut bench.deadlines()), ClientStep::DeliverFinal);
            assert_eq!(machine.receive(200, &mut bench.deadlines()), ClientStep::Ignore);
            assert_eq!(bench.next(), Some((Timer::K, 5000)));
            assert_eq!(machine.fire(Timer::K, &mut bench.deadlines()), ClientStep::End);
            assert_eq!(bench.next(), None);
        }
    }

    #[test]
    fn reliable_request_is_sent_once_and_ends_at_once() {
        let mut bench = Bench::new();
        let mut machine = Client::start(Reliability::Reliable, PATIENCE, &mut bench.deadlines());
        machine.receive(200, &mut bench.deadlines());
        assert_eq!(bench.next(), Some((Timer::K, 0)));
    }
}
