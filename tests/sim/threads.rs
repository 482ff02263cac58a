//! Several media threads: `[media] threads`.

use crate::{Plan, World, answers, finish, phone, rule};

/// Joins two calls, and plays to one of them.
const JOIN: &str = r#"
    const a = VoxEngine.callPSTN("7001", "100"), b = VoxEngine.callPSTN("7002", "100");
    let connected = 0;
    for (const call of [a, b]) {
        call.addEventListener(CallEvents.Connected, () => {
            if (++connected === 2) VoxEngine.sendMediaBetween(a, b);
        });
    }
    setTimeout(() => VoxEngine.createURLPlayer("http://host/prompt.wav").sendMediaTo(a), 500);
    setTimeout(VoxEngine.terminate, 1000);
"#;

#[test]
fn sessions_take_turns_on_media_threads_and_each_stays_on_one() {
    let plan = Plan {
        rules: rule(JOIN),
        phones: vec![phone("7001", answers()), phone("7002", answers())],
        config: "[media]\nthreads = 3\n".into(),
        ..Plan::default()
    };
    let mut world = World::new(plan);
    let mut threads = Vec::new();
    for _ in 0..6 {
        let before = world.media_threads.clone();
        world.start_scenario(1, "").expect("the scenario starts");
        finish(&mut world);
        let units = world.media_threads.iter().filter(|(unit, _)| !before.contains_key(unit));
        let of_session: Vec<usize> = units.map(|(_, thread)| *thread).collect();
        // Two calls and a player.
        assert_eq!(of_session.len(), 3);
        assert!(of_session.iter().all(|thread| *thread == of_session[0]), "{of_session:?}");
        threads.push(of_session[0]);
    }
    assert_eq!(threads, [0, 1, 2, 0, 1, 2]);
}
