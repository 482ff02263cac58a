//! Compiling: the prelude once per process, each rule's scripts once per worker, and what a
//! script gives to `eval`.
//!
//! A session's own context has no compiler. QuickJS's parser does not survive a refused
//! allocation, so it never works under a session's limits: it runs in a runtime of its own, on a
//! source of bounded length, and the session only reads the bytecode.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::sync::OnceLock;

use rquickjs::{Context, Ctx, Error, Function, Result, Runtime, Value, qjs};

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

/// A compiled file of the prelude.
struct Unit {
    name: &'static str,
    bytecode: Bytecode,
}

/// The function of the prelude file `name`, without its `.js`.
pub fn load<'js>(ctx: &Ctx<'js>, name: &str, account: &Account) -> Result<Function<'js>> {
    let unit = units().iter().find(|unit| unit.name == name).ok_or(Error::Unknown)?;
    run(ctx, &unit.bytecode, account)?.into_function().ok_or(Error::Unknown)
}

/// Compiles the prelude if that was not done yet.
pub fn prepare() {
    units();
}

fn units() -> &'static [Unit] {
    static UNITS: OnceLock<Vec<Unit>> = OnceLock::new();
    UNITS.get_or_init(|| {
        let context = compiler().expect("there is memory when the gateway starts");
        let strict = qjs::JS_EVAL_FLAG_STRICT;
        let stripped = qjs::JS_WRITE_OBJ_STRIP_SOURCE | qjs::JS_WRITE_OBJ_STRIP_DEBUG;
        context.with(|ctx| {
            let compiled = |&(name, source): &(&'static str, &str)| {
                let bytecode = compile(&ctx, name, source, strict, stripped);
                Unit { name, bytecode: bytecode.expect("tests compile every file of the prelude") }
            };
            SOURCES.iter().map(compiled).collect()
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

/// The core first, in the order in which it is loaded.
const SOURCES: &[(&str, &str)] = sources![
    "core",
    "unit",
    "call",
    "voxengine",
    "globals",
    "player",
    "net",
    "join",
    "bytes",
    "crypto",
    "voices",
    "enums",
    "vendor",
    "function",
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
            for (name, source) in SOURCES {
                let bytecode = compile(&ctx, name, source, qjs::JS_EVAL_FLAG_STRICT, 0);
                assert!(bytecode.is_ok(), "{name}.js: {:?}", ctx.catch());
                let length: usize = load(&ctx, name, &account).unwrap().get("length").unwrap();
                assert_eq!(length, 2, "{name}.js takes host and shared");
            }
        });
    }
}
