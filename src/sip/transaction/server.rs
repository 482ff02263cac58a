//! The non-INVITE server transaction (RFC 3261 §17.2.2 figure 8).
//!
//! ```text
//! Trying --1xx--> Proceeding     Trying, Proceeding --200-699--> Completed --J--> Terminated
//! ```

use super::{Deadlines, PATIENCE, Reliability, ServerStep, Timer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

/// One machine; made when its request arrives.
#[derive(Debug)]
pub struct Server {
    state: State,
    reliability: Reliability,
}

impl Server {
    pub fn start(reliability: Reliability) -> Self {
        Self { state: State::Trying, reliability }
    }

    /// The request came again.
    pub fn receive(&mut self) -> ServerStep {
        match self.state {
            State::Proceeding | State::Completed => ServerStep::Send,
            State::Trying | State::Terminated => ServerStep::Ignore,
        }
    }

    /// The core answers with this status.
    pub fn respond(&mut self, status: u16, deadlines: &mut Deadlines<'_>) -> ServerStep {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 100..=199) => {
                self.state = State::Proceeding;
                ServerStep::Send
            }
            (State::Trying | State::Proceeding, _) => {
                self.state = State::Completed;
                deadlines.arm(Timer::J, self.reliability.linger(PATIENCE));
                ServerStep::Send
            }
            (State::Completed | State::Terminated, _) => ServerStep::Ignore,
        }
    }

    pub fn fire(&mut self, timer: Timer) -> ServerStep {
        match (self.state, timer) {
            (State::Completed, Timer::J) => {
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

    #[test]
    fn request_again_before_any_response_is_ignored() {
        let mut machine = Server::start(Reliability::Unreliable);
        assert_eq!(machine.receive(), ServerStep::Ignore);
        assert_eq!(machine.state(), State::Trying);
    }

    #[test]
    fn request_again_gets_the_last_response() {
        let mut bench = Bench::new();
        let mut machine = Server::start(Reliability::Unreliable);
        assert_eq!(machine.respond(100, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.receive(), ServerStep::Send);
        assert_eq!(machine.respond(183, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.respond(200, &mut bench.deadlines()), ServerStep::Send);
        assert_eq!(machine.receive(), ServerStep::Send);
        assert_eq!(machine.state(), State::Completed);
    }

    #[test]
    fn second_final_response_is_discarded() {
        let mut bench = Bench::new();
        let mut machine = Server::start(Reliability::Unreliable);
        machine.respond(200, &mut bench.deadlines());
        assert_eq!(machine.respond(500, &mut bench.deadlines()), ServerStep::Ignore);
    }

    #[test]
    fn completed_lingers_for_64_t1_only_over_udp() {
        for (reliability, after) in [(Reliability::Unreliable, 32000), (Reliability::Reliable, 0)] {
            let mut bench = Bench::new();
            let mut machine = Server::start(reliability);
            machine.respond(200, &mut bench.deadlines());
            assert_eq!(bench.next(), Some((Timer::J, after)));
            assert_eq!(machine.fire(Timer::J), ServerStep::End);
            assert_eq!(machine.state(), State::Terminated);
        }
    }
}
