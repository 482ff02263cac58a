//! Scripts that break a limit: each costs its own session, in bounded time, with a line that
//! names script and line.

use super::*;

/// Runs a script that must fail within a few times its run-time limit.
fn fails(limits: Limits, source: &str) -> String {
    let bound = limits.run_time * 3 + Duration::from_secs(2);
    let mut stage = Stage::with(limits);
    let begun = Instant::now();
    let outputs = stage.start(&[("bad.js", source)]);
    assert!(begun.elapsed() < bound, "took {:?}", begun.elapsed());
    assert_eq!(stage.worker.usage(), 0, "{outputs:?}");
    assert_eq!(stage.pool.free(), POOL_BYTES);
    assert_eq!(stage.worker.poll_timeout(), None);
    failure(&outputs).unwrap_or_else(|| panic!("did not fail: {outputs:?}")).to_owned()
}

fn quick() -> Limits {
    Limits { run_time: Duration::from_millis(100), ..limits() }
}

#[test]
fn throw_at_top_level_names_file_and_line() {
    assert_eq!(fails(limits(), "var a = 1;\nthrow new Error('boom');"), "bad.js:2: Error: boom");
    assert_eq!(
        fails(limits(), "\n\nmissing();"),
        "bad.js:3: ReferenceError: missing is not defined"
    );
    assert_eq!(fails(limits(), "throw 'text'"), "bad.js: text");
    assert_eq!(fails(limits(), "throw { code: 1 }"), "bad.js: {\"code\":1}");
}

#[test]
fn syntax_error_names_file_and_line() {
    let error = fails(limits(), "let a = 1;\nlet b = ;\n");
    assert!(error.starts_with("bad.js:2: SyntaxError: "), "{error}");
}

#[test]
fn error_in_a_later_script_names_that_script() {
    let mut stage = Stage::with(limits());
    let outputs = stage.start(&[("good.js", "var a = 1;"), ("bad.js", "\na.b.c")]);
    let error = failure(&outputs).unwrap();
    assert!(error.starts_with("bad.js:2: TypeError: "), "{error}");
}

#[test]
fn endless_loops_end_in_every_form() {
    for source in [
        "for (;;) {}",
        "while (true) { try { for (;;) {} } catch (e) {} }",
        "const o = { get x() { for (;;) {} } };\no.x",
        "[1, 2].sort(() => { for (;;) {} })",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "(async () => { for (;;) await null })()",
        "const f = () => queueMicrotask(f); f()",
        "function* g() { for (;;) yield 1 } for (const x of g()) {}",
        "JSON.stringify({ toJSON() { for (;;) {} } })",
        "new Proxy({}, { get() { for (;;) {} } }).x",
        "eval('for (;;) {}')",
        "for (;;) Logger",
        "'x'.replace(/x/, () => { for (;;) {} })",
        "for (;;) setTimeout",
    ] {
        let error = fails(quick(), source);
        assert!(error.starts_with("bad.js:"), "{source}: {error}");
        assert!(error.ends_with("a callback ran longer than 100 ms"), "{source}: {error}");
    }
}

#[test]
fn promise_storm_ends_by_time_or_memory() {
    let error = fails(quick(), "const f = () => Promise.resolve().then(f); f()");
    // With a line, unless the time was over between two jobs.
    assert!(error.starts_with("bad.js:"), "{error}");
}

#[test]
fn endless_loop_names_its_line() {
    let error = fails(quick(), "let n = 0;\nfunction spin() {\n  for (;;) n += n.x;\n}\nspin();");
    assert_eq!(error, "bad.js:3: a callback ran longer than 100 ms");
}

#[test]
fn endless_loop_in_a_listener_or_timer_fails_the_session() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Ringing, () => {\nfor (;;) call.x; });\nsetTimeout(() => {\nfor (;;) call.x; }, 10);";
    for is_timer in [false, true] {
        let mut stage = Stage::with(quick());
        stage.start(&[("bad.js", source)]);
        let outputs = match is_timer {
            false => stage.call(1, CallEvent::Ringing { headers: Vec::new() }),
            true => stage.wait(Duration::from_millis(10)),
        };
        let line = if is_timer { 5 } else { 3 };
        let error = format!("bad.js:{line}: a callback ran longer than 100 ms");
        assert_eq!(failure(&outputs), Some(error.as_str()), "{outputs:?}");
        assert_eq!(stage.worker.usage(), 0);
    }
}

#[test]
fn loops_of_few_steps_with_much_work_in_each_end_in_time() {
    let source = "const text = 'a'.repeat(1e6); const list = new Array(1e5).fill(1);";
    for each in [
        "text.replaceAll('aaaaaaaaab', 'c')",
        "text.indexOf('aaaaaaaaab')",
        "text.toUpperCase()",
        "'a'.repeat(4e6)",
        "list.slice().reverse()",
        "list.join()",
        "sha256(text)",
        "base64_encode(text)",
    ] {
        let error = fails(quick(), &format!("{source} for (;;) try {{ {each} }} catch (e) {{}}"));
        assert!(error.ends_with("a callback ran longer than 100 ms"), "{each}: {error}");
    }
}

#[test]
fn timer_that_sets_itself_again_leaves_time_to_others() {
    let source = "let n = 0; const again = () => { n++; setTimeout(again, 0) }; again();
        VoxEngine.addEventListener(AppEvents.HttpRequest, () => Logger.write(n));";
    let mut stage = Stage::quiet(source);
    stage.wait(Duration::from_millis(10));
    // At the top level, and once a millisecond.
    assert_eq!(logs(&stage.access(1, "")), ["11"]);
}

#[test]
fn timers_that_are_due_together_fire_one_by_one() {
    let source = "for (let n = 0; n < 2; n++) setTimeout(() => Logger.write(n), 5);";
    let mut stage = Stage::quiet(source);
    stage.now += Duration::from_millis(5);
    assert_eq!(logs(&stage.input(Input::Timeout)), ["0"]);
    assert_eq!(stage.worker.poll_timeout(), Some(stage.now));
    assert_eq!(logs(&stage.input(Input::Timeout)), ["1"]);
}

#[test]
fn built_ins_that_run_long_unasked_are_guarded() {
    for source in [
        "const a = []; a.length = 4294967295; a.join()",
        "const a = []; a.length = 4294967295; a.slice(1)",
        "const a = []; a.length = 4294967295; a.splice(0, 1)",
        "const a = []; a.length = 4294967295; a.reverse()",
        "const a = []; a.length = 4294967295; [].concat(a)",
        "const a = []; a.length = 4294967295; a.unshift(1)",
        "const a = []; a.length = 4294967295; a.sort()",
        "const a = []; a.length = 4294967295; a.flat()",
        "const a = []; a.length = 4294967295; String(a)",
        "const a = []; a.length = 4294967295; a.toLocaleString()",
        "Array.prototype.join.call({ length: 2 ** 53 - 1 })",
        "'a'.repeat(2e6).indexOf('a'.repeat(1e6) + 'b')",
        "'a'.repeat(2e6).split('a'.repeat(1e6) + 'b')",
        "'a'.repeat(2e6).replaceAll('a'.repeat(1e6) + 'b', 'c')",
        "'a'.repeat(2e6).lastIndexOf('b' + 'a'.repeat(1e6))",
    ] {
        let begun = Instant::now();
        let error = fails(limits(), source);
        assert!(error.contains("RangeError: Invalid "), "{source}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{source}");
    }
}

#[test]
fn guards_leave_usual_calls_alone() {
    let source = "Logger.write([[3, 1, 2].sort().join('-'), [1, 2, 3].slice(1).join(), [1].concat([2], 3).join(),
        [1, [2]].flat().join(), 'a,b'.split(',').join('|'), 'abc'.indexOf('c'), 'aXbX'.replaceAll('X', '-'),
        Array.prototype.slice.length, [].concat.name].join(' '));";
    assert_eq!(log_of(source), ["1-2-3 2,3 1,2,3 1,2 a|b 2 a-b- 2 concat"]);
}

#[test]
fn heap_bombs_fail_out_of_memory() {
    for source in [
        "const a = [];\nfor (;;) a.push(new Array(1000).fill(1.5))",
        "const a = [];\nfor (;;) try { a.push('x'.repeat(100000) + a.length) } catch (e) {}",
        "const m = new Map();\nfor (let i = 0; ; i++) m.set({}, i)",
        "new ArrayBuffer(1e9)",
        "'x'.repeat(2 ** 28)",
        "const f = () => { const big = new Array(10000).fill(1.5); return Promise.resolve().then(() => [f(), big]) }; const keep = []; for (;;) keep.push(f())",
        "for (;;) VoxEngine.customData('x'.repeat(10000))",
        "for (;;) VoxEngine.callPSTN('1'.repeat(1000), '2')",
    ] {
        let error = fails(Limits { run_time: Duration::from_secs(20), ..limits() }, source);
        assert!(error.starts_with("bad.js"), "{source}: {error}");
        assert!(error.contains("out of memory"), "{source}: {error}");
    }
}

#[test]
fn heap_bomb_names_its_line() {
    let error =
        fails(limits(), "const a = [];\nfor (;;)\n  a.push('x'.repeat(100000) + a.length);");
    assert!(error.starts_with("bad.js:3: out of memory"), "{error}");
}

#[test]
fn deep_recursion_is_an_error_of_the_script() {
    let error = fails(limits(), "function f() {\n  f();\n}\nf();");
    assert_eq!(error, "bad.js:2: RangeError: Maximum call stack size exceeded");
    for source in [
        "const a = []; let b = a; for (let i = 0; i < 1e5; i++) { b.push([]); b = b[0] } JSON.stringify(a)",
        "JSON.parse('['.repeat(1e6))",
        "new RegExp('('.repeat(1e6))",
        "eval('('.repeat(1e6))",
        "const o = { get x() { return this.x } }; o.x",
        "new Proxy({}, { get(t, k, r) { return r[k] } }).x",
    ] {
        let error = fails(limits(), source);
        assert!(error.starts_with("bad.js"), "{source}: {error}");
    }
}

#[test]
fn string_that_grows_for_ever_is_an_error_of_the_script() {
    let error = fails(limits(), "let s = 'x';\nfor (;;) s += s + Math.random();");
    assert!(error.starts_with("bad.js:2: "), "{error}");
}

#[test]
fn eval_and_function_compile_in_the_global_scope() {
    let source = "eval('var made = 1; let kept = 2'); Logger.write([made, kept, eval('1 + 1'), eval(5)].join());
        const add = new Function('a', 'b', 'return a + b'); Logger.write([add(1, 2), add instanceof Function,
          typeof Function('return this')(), (() => {}) instanceof Function].join());
        for (const bad of ['1 +', 'x'.repeat(70000), '\\0']) try { eval(bad) } catch (e) { Logger.write(e.name) }
        try { eval('missing.x') } catch (e) { Logger.write(e.name) }";
    assert_eq!(
        log_of(source),
        [
            "1,2,2,5",
            "3,true,object,true",
            "SyntaxError",
            "RangeError",
            "SyntaxError",
            "ReferenceError"
        ]
    );
}

#[test]
fn too_many_timers_and_players_throw() {
    let source = "for (let i = 0; i < 100; i++) setTimeout(() => {}, 1000);
        try { setTimeout(() => {}, 1) } catch (e) { Logger.write(e.message) }
        for (let i = 0; i < 10; i++) VoxEngine.createURLPlayer('u');
        try { VoxEngine.createURLPlayer('u') } catch (e) { Logger.write(e.message) }
        try { VoxEngine.callPSTN('1', '2').say('x') } catch (e) { Logger.write(e.message) }";
    let (mut stage, outputs) = Stage::run(source);
    assert_eq!(
        logs(&outputs),
        [
            "Exceeded the timer count limit!",
            "Exceeded the media player count limit!",
            "Exceeded the media player count limit!",
        ]
    );
    stage.player(1, PlayerEvent::PlaybackFinished { error: None });
}

#[test]
fn finished_sounds_make_room() {
    let source = "const p = []; for (let i = 0; i < 10; i++) p.push(VoxEngine.createURLPlayer('u'));
        const add = () => { try { VoxEngine.createURLPlayer('u'); Logger.write('fits') } catch { Logger.write('full') } };
        VoxEngine.addEventListener(AppEvents.HttpRequest, add); add(); p[0].stop(); add();";
    let (mut stage, outputs) = Stage::run(source);
    assert_eq!(logs(&outputs), ["full", "fits"]);
    stage.player(2, PlayerEvent::PlaybackFinished { error: None });
    assert_eq!(logs(&stage.access(1, "")), ["fits"]);
    assert_eq!(logs(&stage.access(2, "")), ["full"]);
}

#[test]
fn exception_in_a_listener_is_logged_and_the_session_goes_on() {
    let source = "const call = VoxEngine.callPSTN('1', '2');
        call.addEventListener(CallEvents.Ringing, () => {\n          null.x });
        call.addEventListener(CallEvents.Ringing, () => Logger.write('next'));
        call.addEventListener(CallEvents.Connected, async () => { await null; throw new Error('async') });
        call.addEventListener(CallEvents.Connected, 'no function');";
    let (mut stage, _) = Stage::run(source);
    let outputs = stage.call(1, CallEvent::Ringing { headers: Vec::new() });
    assert!(logs(&outputs)[0].starts_with("test.js:3: TypeError: "), "{outputs:?}");
    assert!(logs(&outputs)[0].contains("\n    at "), "{outputs:?}");
    assert_eq!(exceptions(&outputs)[0].split_once(": ").unwrap().0, "test.js:3");
    assert_eq!(logs(&outputs)[1], "next");
    let outputs = stage.call(1, connected());
    assert!(logs(&outputs)[0].starts_with("test.js:5: Error: async"), "{outputs:?}");
    assert!(logs(&outputs)[1].contains("not a function"), "{outputs:?}");
    assert_eq!(stage.worker.usage(), 1);
}

#[test]
fn handled_rejections_are_no_exceptions() {
    let source = "(async () => { try { await Promise.reject(new Error('a')) } catch { Logger.write('caught') } })();
        Promise.reject(new Error('b')).catch(() => {});
        const late = Promise.reject(1); Promise.resolve().then(() => late.catch(() => {}));";
    let (_, outputs) = Stage::run(source);
    assert_eq!(logs(&outputs), ["caught"]);
    assert!(exceptions(&outputs).is_empty());
}

#[test]
fn with_on_error_end_an_exception_ends_the_session() {
    for source in [
        "VoxEngine.addEventListener(AppEvents.Started, () => {\nthrow new Error('x') });",
        "VoxEngine.addEventListener(AppEvents.Started, async () => {\nthrow new Error('x') });",
    ] {
        let mut stage = Stage::with(Limits { on_error: OnError::End, ..limits() });
        let outputs = stage.start(&[("bad.js", source)]);
        assert_eq!(failure(&outputs), Some("bad.js:2: Error: x"));
        assert_eq!(stage.worker.usage(), 0);
    }
}

#[test]
fn bad_neighbour_costs_only_its_own_session() {
    let mut stage = Stage::with(limits());
    stage.start(&[("good.js", "VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'well');")]);
    stage.session = session(2);
    let outputs =
        stage.start(&[("bad.js", "const a = []; for (;;) a.push(new Array(1000).fill(1.5))")]);
    assert!(failure(&outputs).is_some());
    stage.session = session(1);
    assert_eq!(answers(&stage.access(1, "")), [Answer::Text("well".into())]);
}

#[test]
fn empty_pool_fails_only_who_asks_for_more() {
    let pool = Arc::new(Pool::new(0));
    let mut stage = Stage::with(Limits { pool, ..limits() });
    stage.start(&[("good.js", "VoxEngine.addEventListener(AppEvents.HttpRequest, () => 'well');")]);
    stage.session = session(2);
    let outputs =
        stage.start(&[("bad.js", "const a = [];\nfor (;;) a.push('x'.repeat(10000) + a.length)")]);
    assert!(failure(&outputs).is_some_and(|error| error.contains("out of memory")), "{outputs:?}");
    stage.session = session(1);
    assert_eq!(answers(&stage.access(1, "")), [Answer::Text("well".into())]);
}

#[test]
fn full_worker_refuses_a_session() {
    let mut stage = Stage::with(Limits { sessions: 1, ..limits() });
    stage.start(&[("a.js", "")]);
    stage.session = session(2);
    let outputs = stage.start(&[("b.js", "")]);
    assert_eq!(failure(&outputs), Some("no room for more than 1 scenarios"));
    assert_eq!(stage.worker.usage(), 1);
}

#[test]
fn memory_refused_at_any_moment_harms_nobody() {
    let source = "const o = { a: [1, 2, 3].map(x => 'text' + x), d: new Date(0) };
        class A { #x = 1; get x() { return this.#x } } const m = new Map([[new A(), o]]);
        VoxEngine.addEventListener(AppEvents.Started, async e => { await null; Logger.write(JSON.stringify(o));
          const call = VoxEngine.callPSTN('1', '2'); call.say('x', VoiceList.Amazon.en_US_Joanna);
          call.addEventListener(CallEvents.Connected, () => VoxEngine.terminate());
          try { Net.httpRequestAsync('http://h/', { params: { a: /b+/.exec('abbb') } }) } catch {} });";
    let mut failures = 0;
    for heap_kib in 150..700 {
        let pool = Arc::new(Pool::new(POOL_BYTES));
        let limits = Limits { heap_bytes: heap_kib << 10, reserve_bytes: 0, pool, ..limits() };
        let mut stage = Stage::with(limits);
        let outputs = stage.start(&[("tight.js", source)]);
        failures += usize::from(failure(&outputs).is_some());
        stage.call(1, connected());
        stage.input(Input::Drop { session: stage.session });
        assert_eq!(stage.pool.free(), POOL_BYTES, "{heap_kib} KiB");
    }
    assert!(failures > 10, "{failures}");
}

#[test]
fn many_sessions_leave_nothing() {
    let mut stage = Stage::with(limits());
    let source = "const call = VoxEngine.callPSTN('1', '2'); call.addEventListener(CallEvents.Ringing, () => call);
        globalThis.cycle = { call, self: globalThis }; setInterval(() => {}, 100); Net.httpRequest('http://h/', () => {});";
    for number in 1..=500 {
        stage.session = session(number);
        stage.start(&[("test.js", source)]);
        stage.input(Input::Drop { session: stage.session });
    }
    assert_eq!(stage.worker.usage(), 0);
    assert_eq!(stage.worker.poll_timeout(), None);
    assert_eq!(stage.pool.free(), POOL_BYTES);
}
