//! The call ladder, drawn line by line as messages leave the gateway.

use std::time::Duration;

/// Two phones and the gateway between them.
#[derive(Debug, Default)]
pub struct Ladder {
    legs: Vec<Leg>,
}

#[derive(Debug)]
struct Leg {
    call_id: String,
    number: String,
    /// The gateway's tag: who sent a request inside the dialog.
    caller_tag: String,
    /// `INVITE`, `180`, `200 INVITE`, `ACK`, `BYE`, ... in order.
    seen: Vec<String>,
}

/// A message as the gateway's log has it.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    /// `INVITE 7001`, or `180 Ringing`.
    start: &'a str,
    cseq_method: &'a str,
    from_tag: &'a str,
    call_id: &'a str,
}

impl Ladder {
    /// Takes a line of the gateway's log; the ladder's line, if it is one of a call.
    pub fn take(&mut self, at: Duration, line: &str) -> Option<String> {
        let message = Message::parse(line.split_once(MARK)?.1)?;
        let mut words = message.start.split(' ');
        let first = words.next().unwrap_or_default();
        let is_request = first.parse::<u16>().is_err();
        if first == "INVITE" && !self.legs.iter().any(|leg| leg.call_id == message.call_id) {
            self.legs.push(Leg {
                call_id: message.call_id.into(),
                number: words.next().unwrap_or_default().into(),
                caller_tag: message.from_tag.into(),
                seen: Vec::new(),
            });
        }
        let place = self.legs.iter().position(|leg| leg.call_id == message.call_id)?;
        let leg = self.legs.get_mut(place)?;
        // A request is the caller's where it has the caller's tag; a response goes the other way.
        let is_from_gateway = (message.from_tag == leg.caller_tag) == is_request;
        let label = match is_request {
            true => first.to_owned(),
            false => format!("{first} {}", message.cseq_method),
        };
        leg.seen.push(label.clone());
        Some(draw(at, place, &label, is_from_gateway))
    }

    /// Whether the leg to this number has seen these messages in this order.
    pub fn has_seen(&self, number: &str, expected: &[&str]) -> bool {
        let Some(leg) = self.legs.iter().find(|leg| leg.number == number) else { return false };
        let mut seen = leg.seen.iter();
        expected.iter().all(|label| seen.any(|seen| seen == label))
    }

    /// What the leg to this number has seen.
    pub fn seen(&self, number: &str) -> String {
        let leg = self.legs.iter().find(|leg| leg.number == number);
        leg.map_or_else(|| "nothing".into(), |leg| leg.seen.join(", "))
    }

    /// Names over the lanes.
    pub fn headline(left: &str, right: &str) -> String {
        format!("{:>8}  {left:<LANE$} {:<LANE$} {right}", "seconds", "gateway")
    }
}

impl<'a> Message<'a> {
    /// `-> 127.0.0.1:5060 INVITE 7001 from-tag=x call-id=1@c cseq=1 INVITE`, headers in any order.
    fn parse(text: &'a str) -> Option<Self> {
        let (_peer, text) = text.split_once(' ')?;
        let field = |name: &str| {
            let start = text.find(name)? + name.len();
            let rest = &text[start..];
            Some(rest.split(' ').next().unwrap_or(rest))
        };
        let cseq = &text[text.find(" cseq=")?..];
        let end = [" cseq=", " from-tag=", " call-id="]
            .into_iter()
            .filter_map(|name| text.find(name))
            .min()?;
        Some(Self {
            start: &text[..end],
            cseq_method: cseq.trim_start().split(' ').nth(1)?,
            from_tag: field(" from-tag=")?,
            call_id: field(" call-id=")?,
        })
    }
}

/// One arrow, in the lane left or right of the gateway.
fn draw(at: Duration, leg: usize, label: &str, is_from_gateway: bool) -> String {
    let is_left = leg.is_multiple_of(2);
    let points_left = is_left == is_from_gateway;
    let label = format!(" {label} ");
    let arrow = match points_left {
        true => format!("<{label:-^width$}-", width = LANE - 2),
        false => format!("-{label:-^width$}>", width = LANE - 2),
    };
    let empty = " ".repeat(LANE);
    let lanes = match is_left {
        true => format!("|{arrow}|{empty}|"),
        false => format!("|{empty}|{arrow}|"),
    };
    format!("{:8.3}  {lanes}", at.as_secs_f64())
}

/// What stands before a message that was sent.
const MARK: &str = "driver::wire: -> ";
/// Characters between two lines of the ladder.
const LANE: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(start: &str, tag: &str, cseq: &str) -> String {
        let date = "2026-01-01 00:00:00.000 DEBUG driver::wire:";
        format!("{date} -> 127.0.0.1:5060 {start} from-tag={tag} call-id=1 cseq={cseq}")
    }

    #[test]
    fn arrows_point_from_who_speaks() {
        let mut ladder = Ladder::default();
        let at = Duration::from_millis(12);
        let mut draw = |line: &str| ladder.take(at, line).unwrap();
        assert_eq!(
            draw(&line("INVITE 7001", "g", "1 INVITE")),
            "   0.012  |<----- INVITE ------|                    |"
        );
        assert_eq!(
            draw(&line("180 Ringing", "g", "1 INVITE")),
            "   0.012  |---- 180 INVITE --->|                    |"
        );
        draw(&line("200 OK", "g", "1 INVITE"));
        draw(&line("ACK ", "g", "1 ACK"));
        // The phone hangs up: its own tag is in From.
        assert!(draw(&line("BYE ", "p", "1 BYE")).contains("BYE ------->|"));
        assert!(draw(&line("200 OK", "p", "1 BYE")).contains("<---- 200 BYE"));
        assert!(ladder.has_seen("7001", &["INVITE", "180 INVITE", "200 INVITE", "ACK", "BYE"]));
        assert!(!ladder.has_seen("7001", &["BYE", "INVITE"]));
        assert!(!ladder.has_seen("7002", &["INVITE"]));
    }

    #[test]
    fn other_lines_are_not_part_of_it() {
        let mut ladder = Ladder::default();
        for line in ["", "INFO sip: hello", "x driver::wire: <- 127.0.0.1:1 INVITE 7001 cseq=1"] {
            assert_eq!(ladder.take(Duration::ZERO, line), None);
        }
        let options = line("OPTIONS ", "g", "1 OPTIONS");
        assert_eq!(ladder.take(Duration::ZERO, &options), None);
    }
}
