//! The INVITE server transaction (RFC 3261 §17.2.1 figure 7, RFC 6026 §8.5).
//!
//! ```text
//! Proceeding --2xx--> Accepted --L--> Terminated
//! Proceeding --300-699--> Completed --ACK--> Confirmed --I--> Terminated
//! Completed --H--> Terminated
//! ```

use std::time::Duration;

use super::{Deadlines, PATIENCE, Reliability, ServerStep, T1, T2, T4, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

/// One machine; made when its INVITE arrives.
#[derive(Debug)]
pub struct ServerInvite {
    state: State,
    reliability: Reliability,
    /// Timer G's next interval.
    interval: Duration,
}

impl ServerInvite {
    pub fn start(reliability: Reliability) -> Self {
        Self { state: State::Proceeding, reliability, interval: T1 }
    }

    /// The INVITE came again.
    pub fn receive_invite(&mut self) -> ServerStep {
        match self.state {
            State::Proceeding | State::Completed => ServerStep::Send,
            // RFC 6026 §7.1: absorbed, for the core sends its 2xx again by itself.
            State::Accepted | State::Confirmed | State::Terminated => ServerStep::Ignore,
        }
    }

    /// An ACK with the INVITE's branch came.
    pub fn receive_ack(&mut self, deadlines: &mut Deadlines<'_>) -> ServerStep {
        match self.state {
            State::Completed => {
                self.state = State::Confirmed;
                deadlines.disarm(Timer::G);
                deadlines.disarm(Timer::H);
                deadlines.arm(Timer::I, self.reliability.linger(T4));
                ServerStep::Ignore
            }
            // The ACK of a 2xx from a peer that does not take a new branch for it.
            State::Accepted => ServerStep::Deliver,
            State::Proceeding | State::Confirmed | State::Terminated => ServerStep::Ignore,
        }
    }

    /// The core answers with this status.
    pub fn respond(&mut self, status: u16, deadlines: &mut Deadlines<'_>) -> ServerStep {
        match (self.state, status) {
            (State::Proceeding, 100..=199) => ServerStep::Send,
            (State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                deadlines.arm(Timer::L, PATIENCE);
                ServerStep::Send
            }
            (State::Proceeding, _) => {
                self.state = State::Completed;
                if self.reliability == Reliability::Unreliable {
                    deadlines.arm(Timer::G, T1);
                }
                deadlines.arm(Timer::H, PATIENCE);
                ServerStep::Send
            }
            (State::Accepted, 200..=299) => ServerStep::Send,
            _ => ServerStep::Ignore,
        }
    }

    pub fn fire(&mut self, timer: Timer, deadlines: &mut Deadlines<'_>) -> ServerStep {
        match (self.state, timer) {
            (State::Completed, Timer::G) => {
                self.interval = (self.interval * 2).min(T2);
                deadlines.arm(Timer::G, self.interval);
                ServerStep::Send
            }
            (State::Completed, Timer::H) => {
                self.state = State::Terminated;
                deadlines.disarm(Timer::G);
                ServerStep::End
            }
            (State::Confirmed, Timer::I) | (State::Accepted, Timer::L) => {
                self.state = State::Terminated;
                ServerStep::End
            }
            _ => ServerStep::Ignore,
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

    fn unreliable() -> (Bench, ServerInvite) {
        (Bench::new(), ServerInvite::start(Reliability::Unreliable))
    }

    #[test]
    fn retransmitted_invite_gets_the_last_provisional() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.respond(100, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.respond(180, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.receive_invite(), ServerStep::Send);
        assert_eq!(machine.state(), State::Proceeding);
        assert_eq!(bench.next(), None);
    }

    #[test]
    fn failure_is_sent_again_until_the_ack_comes() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.respond(486, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(bench.next(), Some((Timer::G, 500)));
        assert_eq!(machine.fire(Timer::G, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(bench.next(), Some((Timer::G, 1500)));
        assert_eq!(machine.fire(Timer::G, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.receive_invite(), ServerStep::Send);
        assert_eq!(machine.receive_ack(&mut bench.deadlines()), ServerStep::Ignore);
        assert_eq!(machine.state(), State::Confirmed);
        assert_eq!(machine.receive_ack(&mut bench.deadlines()), ServerStep::Ignore);
        assert_eq!(machine.receive_invite(), ServerStep::Ignore);
        assert_eq!(bench.next(), Some((Timer::I, 6500)));
        assert_eq!(machine.fire(Timer::I, &mut bench.deadlines()), ServerStep::End);
    }

    #[test]
    fn failure_without_an_ack_is_given_up_after_64_t1() {
        let (mut bench, mut machine) = unreliable();
        machine.respond(486, &mut bench.deadlines());
        let mut sent = 0;
        loop {
            let (timer, at) = bench.next().unwrap();
            match machine.fire(timer, &mut bench.deadlines()) {
                ServerStep::Send => sent += 1,
                step => {
                    assert_eq!((timer, at, step), (Timer::H, 32000, ServerStep::End));
                    break;
                }
            }
        }
        // 0.5, 1.5, 3.5, 7.5 and then every 4 s until 31.5 s.
        assert_eq!(sent, 10);
        assert_eq!(bench.next(), None);
    }

    #[test]
    fn reliable_failure_is_sent_once() {
        let mut bench = Bench::new();
        let mut machine = ServerInvite::start(Reliability::Reliable);
        machine.respond(486, &mut bench.deadlines());
        assert_eq!(bench.timers.len(), 1);
        machine.receive_ack(&mut bench.deadlines());
        assert_eq!(bench.next(), Some((Timer::I, 0)));
    }

    #[test]
    fn accepted_absorbs_invites_and_passes_acks_and_2xx_until_timer_l() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.respond(200, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.state(), State::Accepted);
        assert_eq!(machine.receive_invite(), ServerStep::Ignore);
        assert_eq!(machine.receive_ack(&mut bench.deadlines()), ServerStep::Deliver);
        assert_eq!(machine.respond(200, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.respond(486, &mut bench.deadlines()), ServerStep::Ignore);
        assert_eq!(bench.next(), Some((Timer::L, 32000)));
        assert_eq!(machine.fire(Timer::L, &mut bench.deadlines()), ServerStep::End);
    }

    #[test]
    fn ack_before_any_final_response_is_ignored() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.receive_ack(&mut bench.deadlines()), ServerStep::Ignore);
        assert_eq!(machine.state(), State::Proceeding);
    }
}
