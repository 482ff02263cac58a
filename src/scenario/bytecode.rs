//! Compiling: the prelude once per process, each rule's scripts once per worker, and what a
//! script gives to `eval`.
//!
//! A session's own context has no compiler. QuickJS's parser does not survive a refused
//! allocation, so it never works under a session's limits: it runs in a runtime of its own, on a
//! source of bounded length, and the session only reads the bytecode.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::OnceLock;

use rquickjs::{Array, Context, Ctx, Error, Function, Result, Runtime, Value, qjs};

use super::convert::Trouble;
use super::heap::Account;
use super::worker::Script;

/// Compiles a classic script, file name and lines kept for its stacks.
///
/// # Errors
/// A syntax error with its place.
pub fn compile_script(script: &Script) -> std::result::Result<Bytecode, Trouble> {
    let scripts = std::slice::from_ref(script);
    let failed = |message: String| Trouble { message, place: None, stack: String::new() };
    let context = compiler().map_err(|error| failed(error.to_string()))?;
    context.with(|ctx| {
        let stripped = qjs::JS_WRITE_OBJ_STRIP_SOURCE;
        compile(&ctx, &script.name, &script.source, 0, stripped).map_err(|error| match error {
            Error::Exception => Trouble::caught(&ctx, scripts),
            Error::InvalidString(_) => failed("SyntaxError: a NUL character in the script".into()),
            error => failed(error.to_string()),
        })
    })
}

/// Whether a scenario file compiles, for `branchline check`.
///
/// # Errors
/// `file.js:line: SyntaxError: ...`.
pub fn check(script: &Script) -> std::result::Result<(), String> {
    let compiled = compile_script(script);
    compiled.map(drop).map_err(|trouble| trouble.line(std::slice::from_ref(script)))
}

fn compiler() -> Result<Context> {
    Context::full(&Runtime::new()?)
}

/// A script that this process compiled.
pub struct Bytecode(Vec<u8>);

struct Prelude {
    core: Bytecode,
    files: Vec<(&'static str, Bytecode)>,
}

/// The functions of the core, in the order in which they are called.
pub fn load_core<'js>(ctx: &Ctx<'js>, account: &Account) -> Result<Array<'js>> {
    run(ctx, &units().core, account)?.into_array().ok_or(Error::Unknown)
}

/// The function of the prelude file `name`, without its `.js`.
pub fn load<'js>(ctx: &Ctx<'js>, name: &str, account: &Account) -> Result<Function<'js>> {
    let files = &units().files;
    let (_, bytecode) = files.iter().find(|(file, _)| *file == name).ok_or(Error::Unknown)?;
    run(ctx, bytecode, account)?.into_function().ok_or(Error::Unknown)
}

/// Compiles the prelude if that was not done yet.
pub fn prepare() {
    units();
}

fn units() -> &'static Prelude {
    static UNITS: OnceLock<Prelude> = OnceLock::new();
    UNITS.get_or_init(|| {
        let context = compiler().expect("there is memory when the gateway starts");
        let strict = qjs::JS_EVAL_FLAG_STRICT;
        let stripped = qjs::JS_WRITE_OBJ_STRIP_SOURCE | qjs::JS_WRITE_OBJ_STRIP_DEBUG;
        context.with(|ctx| {
            let compiled = |name, source: &str| {
                compile(&ctx, name, source, strict, stripped)
                    .expect("tests compile every file of the prelude")
            };
            // One unit: what its files have in common is read once.
            let core: Vec<&str> = CORE.iter().map(|(_, source)| *source).collect();
            Prelude {
                core: compiled("core", &format!("[{}]", core.join(","))),
                files: FILES.iter().map(|&(name, source)| (name, compiled(name, source))).collect(),
            }
        })
    })
}

fn compile(
    ctx: &Ctx<'_>,
    name: &str,
    source: &str,
    eval_flags: u32,
    write_flags: u32,
) -> Result<Bytecode> {
    let (source_bytes, file) = (source.len(), CString::new(name)?);
    let source = CString::new(source)?;
    let flags = qjs::JS_EVAL_TYPE_GLOBAL | qjs::JS_EVAL_FLAG_COMPILE_ONLY | eval_flags;
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: `raw` is the live context behind `ctx`; both texts end in NUL and outlive the call.
    let function = unsafe {
        let value =
            qjs::JS_Eval(raw, source.as_ptr(), source_bytes as _, file.as_ptr(), flags as i32);
        Value::from_raw(ctx.clone(), value)
    };
    if function.is_exception() {
        return Err(Error::Exception);
    }
    let flags = qjs::JS_WRITE_OBJ_BYTECODE | write_flags;
    let mut bytes: qjs::size_t = 0;
    // SAFETY: `function` is a compiled function of this context. The block that QuickJS returns
    // holds `bytes` bytes; it is copied before it is freed by its own context.
    unsafe {
        let block = qjs::JS_WriteObject(raw, &mut bytes, function.as_raw(), flags as i32);
        if block.is_null() {
            return Err(Error::Exception);
        }
        let bytecode = std::slice::from_raw_parts(block, bytes as usize).to_vec();
        qjs::js_free(raw, block.cast());
        Ok(Bytecode(bytecode))
    }
}

/// Runs bytecode that this module made in this process; the value of its last expression.
///
/// Reading is not refused memory, running is: the bytecode's length bounds the former.
pub fn run<'js>(
    ctx: &Ctx<'js>,
    Bytecode(bytecode): &Bytecode,
    account: &Account,
) -> Result<Value<'js>> {
    let raw = ctx.as_raw().as_ptr();
    let flags = qjs::JS_READ_OBJ_BYTECODE as i32;
    // SAFETY: the bytes are a script that the same engine wrote.
    let function = account.unrefused(|| unsafe {
        qjs::JS_ReadObject(raw, bytecode.as_ptr(), bytecode.len() as _, flags)
    });
    // SAFETY: the tag of a value that was just made.
    if unsafe { qjs::JS_VALUE_GET_NORM_TAG(function) } == qjs::JS_TAG_EXCEPTION {
        return Err(Error::Exception);
    }
    // SAFETY: `function` is a compiled script of this context, which the call takes over; the
    // value that comes of it is ours.
    let value = unsafe { Value::from_raw(ctx.clone(), qjs::JS_EvalFunction(raw, function)) };
    if value.is_exception() {
        return Err(Error::Exception);
    }
    Ok(value)
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("prelude/", $name, ".js")))),*]
    };
}

/// What every session starts with, in this order.
const CORE: &[(&str, &str)] = sources!["core", "unit", "call", "voxengine", "globals"];

/// What a session loads when its script first touches one of their names.
const FILES: &[(&str, &str)] = sources![
    "app_events",
    "call_events",
    "player",
    "net",
    "join",
    "bytes",
    "crypto",
    "voices",
    "enums",
    "vendor",
    "function",
    "transfer",
    "conference",
    "recorder",
    "voice",
    "detect",
    "amd"
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scenario::heap::Pool;

    #[test]
    fn every_file_of_the_prelude_is_one_function_expression() {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        let account = Account::new(0, 0, Arc::new(Pool::new(0)));
        context.with(|ctx| {
            for (name, source) in CORE.iter().chain(FILES) {
                let bytecode = compile(&ctx, name, source, qjs::JS_EVAL_FLAG_STRICT, 0);
                assert!(bytecode.is_ok(), "{name}.js: {:?}", ctx.catch());
                let function = run(&ctx, &bytecode.unwrap(), &account).unwrap();
                let length: usize = function.into_function().unwrap().get("length").unwrap();
                assert_eq!(length, 2, "{name}.js takes host and shared");
            }
        });
    }
}
