//! The order in which the servers of a service are tried (RFC 2782, "Usage rules").

use crate::dns::Srv;
use crate::random::Random;

/// The lowest priority number first; within it at random, in proportion to the weights. Without a
/// generator: the largest weight first.
pub fn in_order<'a>(mut servers: Vec<&'a Srv>, random: Option<&mut Random>) -> Vec<&'a Srv> {
    let Some(random) = random else {
        servers.sort_by_key(|server| (server.priority, std::cmp::Reverse(server.weight)));
        return servers;
    };
    // Those of weight 0 first: the rule gives them "a very small chance".
    servers.sort_by_key(|server| (server.priority, server.weight > 0));
    let mut ordered = Vec::with_capacity(servers.len());
    while let Some(first) = servers.first() {
        let priority = first.priority;
        let peers = servers.iter().take_while(|server| server.priority == priority);
        let sum: u32 = peers.map(|server| u32::from(server.weight)).sum();
        // 0 to the sum, both included.
        let mark = (u64::from(random.next_u32()) * (u64::from(sum) + 1)) >> 32;
        let mut running = 0;
        let chosen = servers.iter().position(|server| {
            running += u64::from(server.weight);
            running >= mark
        });
        // The sum of all is no less than any mark.
        ordered.push(servers.remove(chosen.unwrap_or_default()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.to_owned() }
    }

    fn firsts(servers: &[Srv], rounds: u32, name: &str) -> u32 {
        let mut random = Random::seeded(3);
        let is_first = |_: &u32| {
            let ordered = in_order(servers.iter().collect(), Some(&mut random));
            assert_eq!(ordered.len(), servers.len());
            ordered[0].target == name
        };
        (0..rounds).filter(is_first).count() as u32
    }

    #[test]
    fn lower_priority_number_always_comes_first() {
        let servers = [server(20, 65535, "c"), server(10, 0, "a"), server(15, 7, "b")];
        let mut random = Random::seeded(1);
        for _ in 0..100 {
            let ordered = in_order(servers.iter().collect(), Some(&mut random));
            let names: Vec<&str> = ordered.iter().map(|server| server.target.as_str()).collect();
            assert_eq!(names, ["a", "b", "c"]);
        }
    }

    #[test]
    fn weights_are_kept_in_proportion() {
        // RFC 2782's example: three quarters of the clients to the new, fast box.
        let servers = [server(0, 1, "old-slow-box"), server(0, 3, "new-fast-box")];
        // The mark is one of 0 to 4; 2, 3 and 4 and, of two at 0 and 1, none: 3 of 5.
        let share = firsts(&servers, 10_000, "new-fast-box");
        assert!((5_800..6_200).contains(&share), "{share}");
        // Larger numbers come close to the ratio: 301 marks of 401 are above 100.
        let servers = [server(0, 100, "a"), server(0, 300, "b")];
        let share = firsts(&servers, 10_000, "b");
        assert!((7_300..7_700).contains(&share), "{share}");
    }

    #[test]
    fn weight_zero_has_a_small_chance_and_equals_an_even_one() {
        let servers = [server(0, 0, "a"), server(0, 99, "b")];
        let share = firsts(&servers, 10_000, "a");
        assert!((40..250).contains(&share), "1 in 100: {share}");
        let servers = [server(0, 10, "a"), server(0, 10, "b"), server(0, 10, "c")];
        for name in ["b", "c"] {
            let share = firsts(&servers, 9_000, name);
            assert!((2_700..3_300).contains(&share), "{share}");
        }
    }
}
