//! The INVITE client transaction (RFC 3261 §17.1.1 figure 5, RFC 6026 §8.4).
//!
//! ```text
//! Calling --1xx--> Proceeding     Calling, Proceeding --2xx--> Accepted --M--> Terminated
//! Calling, Proceeding --300-699, ACK--> Completed --D--> Terminated
//! Calling --B, transport error--> Terminated
//! ```

use std::time::Duration;

use super::{ClientStep, Deadlines, PATIENCE, Reliability, T1, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

/// One machine; made when its request is sent for the first time.
#[derive(Debug)]
pub struct ClientInvite {
    state: State,
    reliability: Reliability,
    /// Timer A's next interval.
    interval: Duration,
}

impl ClientInvite {
    /// `patience`: until the first response.
    pub fn start(
        reliability: Reliability,
        patience: Duration,
        deadlines: &mut Deadlines<'_>,
    ) -> Self {
        if reliability == Reliability::Unreliable {
            deadlines.arm(Timer::A, T1);
        }
        deadlines.arm(Timer::B, patience);
        Self { state: State::Calling, reliability, interval: T1 }
    }

    /// A response with this status came.
    pub fn receive(&mut self, status: u16, deadlines: &mut Deadlines<'_>) -> ClientStep {
        match (self.state, status) {
            (State::Calling, 100..=199) => {
                self.state = State::Proceeding;
                deadlines.disarm(Timer::A);
                deadlines.disarm(Timer::B);
                ClientStep::Deliver
            }
            (State::Proceeding, 100..=199) => ClientStep::Deliver,
            (State::Calling | State::Proceeding, 200..=299) => {
                self.state = State::Accepted;
                deadlines.disarm(Timer::A);
                deadlines.disarm(Timer::B);
                deadlines.arm(Timer::M, PATIENCE);
                ClientStep::Deliver
            }
            (State::Calling | State::Proceeding, _) => {
                self.state = State::Completed;
                deadlines.disarm(Timer::A);
                deadlines.disarm(Timer::B);
                // At least 32 s for unreliable transports.
                deadlines.arm(Timer::D, self.reliability.linger(PATIENCE));
                ClientStep::DeliverFinal
            }
            (State::Completed, 300..) => ClientStep::AckAgain,
            // RFC 6026 §7.2: every 2xx goes to the core, which knows its dialogs.
            (State::Accepted, 200..=299) => ClientStep::Deliver,
            (State::Completed | State::Accepted | State::Terminated, _) => ClientStep::Ignore,
        }
    }

    pub fn fire(&mut self, timer: Timer, deadlines: &mut Deadlines<'_>) -> ClientStep {
        match (self.state, timer) {
            (State::Calling, Timer::A) => {
                self.interval *= 2;
                deadlines.arm(Timer::A, self.interval);
                ClientStep::SendAgain
            }
            (State::Calling | State::Proceeding, Timer::B) => {
                self.state = State::Terminated;
                deadlines.disarm(Timer::A);
                ClientStep::TimedOut
            }
            (State::Completed, Timer::D) | (State::Accepted, Timer::M) => {
                self.state = State::Terminated;
                ClientStep::End
            }
            _ => ClientStep::Ignore,
        }
    }

    /// The CANCEL went out: a final response must come within 64 × T1 (RFC 3261 §9.1).
    pub fn cancelled(&mut self, deadlines: &mut Deadlines<'_>) {
        if self.state == State::Proceeding {
            deadlines.arm(Timer::B, PATIENCE);
        }
    }

    /// After timer B came early: the request is not sent again, but an answer may still come.
    pub fn abandon(&mut self, deadlines: &mut Deadlines<'_>) {
        self.state = State::Calling;
        deadlines.arm(Timer::B, PATIENCE);
    }

    pub fn state(&self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    fn unreliable() -> (Bench, ClientInvite) {
        let mut bench = Bench::new();
        let machine =
            ClientInvite::start(Reliability::Unreliable, PATIENCE, &mut bench.deadlines());
        (bench, machine)
    }

    #[test]
    fn abandoned_invite_is_not_sent_again_and_still_hears_an_answer() {
        let early = Duration::from_secs(5);
        let mut bench = Bench::new();
        let mut machine =
            ClientInvite::start(Reliability::Unreliable, early, &mut bench.deadlines());
        let mut sent = 1;
        let end = loop {
            let (timer, at) = bench.next().unwrap();
            match machine.fire(timer, &mut bench.deadlines()) {
                ClientStep::SendAgain => sent += 1,
                step => break (timer, at, step),
            }
        };
        // RFC 3261 §17.1.1.2: 0, 500, 1500 and 3500 ms.
        assert_eq!((sent, end), (4, (Timer::B, 5000, ClientStep::TimedOut)));
        machine.abandon(&mut bench.deadlines());
        let step = machine.receive(180, &mut bench.deadlines());
        assert_eq!((step, machine.state()), (ClientStep::Deliver, State::Proceeding));

        machine.abandon(&mut bench.deadlines());
        let (timer, at) = bench.next().unwrap();
        assert_eq!((timer, at), (Timer::B, 37_000));
        assert_eq!(machine.fire(timer, &mut bench.deadlines()), ClientStep::TimedOut);
        assert_eq!(bench.next(), None);
    }

    #[test]
    fn invite_is_sent_seven_times_and_given_up_after_64_t1() {
        let (mut bench, mut machine) = unreliable();
        let mut seen = Vec::new();
        while let Some((timer, at)) = bench.next() {
            seen.push((timer, at, machine.fire(timer, &mut bench.deadlines())));
        }
        let again = ClientStep::SendAgain;
        assert_eq!(
            seen,
            [
                (Timer::A, 500, again),
                (Timer::A, 1500, again),
                (Timer::A, 3500, again),
                (Timer::A, 7500, again),
                (Timer::A, 15500, again),
                (Timer::A, 31500, again),
                (Timer::B, 32000, ClientStep::TimedOut),
            ]
        );
        assert_eq!(machine.state(), State::Terminated);
    }

    #[test]
    fn reliable_invite_is_sent_once() {
        let mut bench = Bench::new();
        let mut machine =
            ClientInvite::start(Reliability::Reliable, PATIENCE, &mut bench.deadlines());
        assert_eq!(bench.next(), Some((Timer::B, 32000)));
        assert_eq!(machine.fire(Timer::B, &mut bench.deadlines()), ClientStep::TimedOut);
    }

    #[test]
    fn provisional_stops_retransmission_and_waits_for_ever() {
        let (mut bench, mut machine) = unreliable();
        assert_eq!(machine.receive(100, &mut bench.deadlines()), ClientStep::Deliver);
        assert_eq!(machine.state(), State::Proceeding);
        assert_eq!(machine.receive(180, &mut bench.deadlines()), ClientStep::Deliver);
        assert_eq!(bench.next(), None);
    }

    #[test]
    fn cancelled_invite_without_a_final_response_is_given_up() {
        let (mut bench, mut machine) = unreliable();
        machine.receive(180, &mut bench.deadlines());
        machine.cancelled(&mut bench.deadlines());
        assert_eq!(bench.next(), Some((Timer::B, 32000)));
        assert_eq!(machine.fire(Timer::B, &mut bench.deadlines()), ClientStep::TimedOut);
    }

    #[test]
    fn failure_is_acknowledged_each_time_until_timer_d() {
        for early in [None, Some(180)] {
            let (mut bench, mut machine) = unreliable();
            if let Some(status) = early {
                machine.receive(status, &mut bench.deadlines());
            }
            assert_eq!(machine.receive(486, &mut bench.deadlines()), ClientStep::DeliverFinal);
            assert_eq!(machine.state(), State::Completed);
            assert_eq!(machine.receive(486, &mut bench.deadlines()), ClientStep::AckAgain);
            assert_eq!(machine.receive(180, &mut bench.deadlines()), ClientStep::Ignore);
            assert_eq!(machine.receive(200, &mut bench.deadlines()), ClientStep::Ignore);
            assert_eq!(bench.next(), Some((Timer::D, 32000)));
            assert_eq!(machine.fire(Timer::D, &mut bench.deadlines()), ClientStep::End);
            assert_eq!(machine.state(), State::Terminated);
        }
    }

    #[test]
    fn reliable_failure_ends_at_once() {
        let mut bench = Bench::new();
        let mut machine =
            ClientInvite::start(Reliability::Reliable, PATIENCE, &mut bench.deadlines());
        machine.receive(486, &mut bench.deadlines());
        assert_eq!(bench.next(), Some((Timer::D, 0)));
    }

    #[test]
    fn every_2xx_is_delivered_until_timer_m() {
        for early in [None, Some(180)] {
            let (mut bench, mut machine) = unreliable();
            if let Some(status) = early {
                machine.receive(status, &mut bench.deadlines());
            }
            assert_eq!(machine.receive(200, &mut bench.deadlines()), ClientStep::Deliver);
            assert_eq!(machine.state(), State::Accepted);
            assert_eq!(machine.receive(200, &mut bench.deadlines()), ClientStep::Deliver);
            assert_eq!(machine.receive(180, &mut bench.deadlines()), ClientStep::Ignore);
            assert_eq!(machine.receive(486, &mut bench.deadlines()), ClientStep::Ignore);
            assert_eq!(bench.next(), Some((Timer::M, 32000)));
            assert_eq!(machine.fire(Timer::M, &mut bench.deadlines()), ClientStep::End);
        }
    }

    #[test]
    fn late_timer_is_harmless() {
        let (mut bench, mut machine) = unreliable();
        machine.receive(200, &mut bench.deadlines());
        assert_eq!(machine.fire(Timer::A, &mut bench.deadlines()), ClientStep::Ignore);
        assert_eq!(machine.fire(Timer::B, &mut bench.deadlines()), ClientStep::Ignore);
    }
}
