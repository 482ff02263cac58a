//! Builds libopus with a C compiler alone, in the place of the `cmake` crate.
//!
//! `opusic-sys` brings libopus and its bindings, and lets CMake build it. A gateway for small
//! boxes is cross-compiled, and then CMake is one more program to have, and a toolchain file for
//! each target to keep right. SQLite, QuickJS and ring want a C compiler only, found by the `cc`
//! crate; with this so does libopus. It has the few methods that `opusic-sys` calls, takes the
//! options that it sets, and reads which files belong to the library from the library's own
//! lists (`celt_sources.mk` and so on), so that a newer libopus needs nothing here.
//!
//! **Not** supported is what the gateway does not use: the neural parts (DRED, OSCE), the float
//! interface beside a fixed-point core, CPU detection at run time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What `cmake::Config` is to the build script of `opusic-sys`.
pub struct Config {
    source: PathBuf,
    defines: BTreeMap<String, String>,
}

impl Config {
    pub fn new<P: AsRef<Path>>(source: P) -> Self {
        Self { source: source.as_ref().to_owned(), defines: BTreeMap::new() }
    }

    pub fn define<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, name: K, value: V) -> &mut Self {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        self.defines.insert(text(name.as_ref()), text(value.as_ref()));
        self
    }

    /// Flags of a compiler's link-time optimisation, which `cc` does not pass on either.
    pub fn configure_arg<A: AsRef<OsStr>>(&mut self, _argument: A) -> &mut Self {
        self
    }

    pub fn env<K: AsRef<OsStr>, V: AsRef<OsStr>>(&mut self, _name: K, _value: V) -> &mut Self {
        self
    }

    pub fn generator<T: AsRef<OsStr>>(&mut self, _generator: T) -> &mut Self {
        self
    }

    /// Compiles `lib/libopus.a` and says in which folder `lib` is.
    pub fn build(&mut self) -> PathBuf {
        for part in ["OPUS_DRED", "OPUS_OSCE"] {
            assert!(!self.is_on(part), "{part} is not supported by this build of libopus");
        }
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let mut library = self.library();
        for list in self.lists() {
            library.files(self.files(list));
        }
        library.out_dir(out.join("lib")).compile("opus");
        println!("cargo:rerun-if-changed={}", self.source.display());
        out
    }

    fn library(&self) -> cc::Build {
        let is_fixed = self.is_on("OPUS_FIXED_POINT");
        let mut library = cc::Build::new();
        library.warnings(false).define("OPUS_BUILD", None).define("VAR_ARRAYS", None);
        library.define("HAVE_LRINT", "1").define("HAVE_LRINTF", "1").define("HAVE_STDINT_H", "1");
        let package = format!("\"{}\"", self.version());
        library.define("PACKAGE_VERSION", &*package);
        for folder in ["", "include", "celt", "silk"] {
            library.include(self.source.join(folder));
        }
        library.include(self.source.join(if is_fixed { "silk/fixed" } else { "silk/float" }));
        if is_fixed {
            library.define("FIXED_POINT", "1").define("DISABLE_FLOAT_API", None);
        }
        if self.is_on("OPUS_HARDENING") {
            library.define("ENABLE_HARDENING", None);
        }
        if self.is_on("OPUS_STACK_PROTECTOR") {
            library.flag_if_supported("-fstack-protector-strong");
        }
        for define in self.processor().1 {
            library.define(define, "1");
        }
        library
    }

    /// Names of lists in the `*_sources.mk` files.
    fn lists(&self) -> Vec<&'static str> {
        let mut lists = vec!["CELT_SOURCES", "SILK_SOURCES", "OPUS_SOURCES"];
        if self.is_on("OPUS_FIXED_POINT") {
            lists.push("SILK_SOURCES_FIXED");
        } else {
            lists.extend(["SILK_SOURCES_FLOAT", "OPUS_SOURCES_FLOAT"]);
        }
        lists.extend(self.processor().0);
        if lists.contains(&"SILK_SOURCES_ARM_NEON_INTR") && self.is_on("OPUS_FIXED_POINT") {
            lists.push("SILK_SOURCES_FIXED_ARM_NEON_INTR");
        }
        lists
    }

    /// Lists of files and macros for what every processor of the target has.
    fn processor(&self) -> (&'static [&'static str], &'static [&'static str]) {
        let architecture = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
        match architecture.as_str() {
            _ if self.is_on("OPUS_DISABLE_INTRINSICS") => (&[], &[]),
            "x86_64" => (
                &["CELT_SOURCES_SSE", "CELT_SOURCES_SSE2"],
                &[
                    "OPUS_X86_MAY_HAVE_SSE",
                    "OPUS_X86_MAY_HAVE_SSE2",
                    "OPUS_X86_PRESUME_SSE",
                    "OPUS_X86_PRESUME_SSE2",
                ],
            ),
            "aarch64" => (
                &["CELT_SOURCES_ARM_NEON_INTR", "SILK_SOURCES_ARM_NEON_INTR"],
                &[
                    "OPUS_ARM_MAY_HAVE_NEON_INTR",
                    "OPUS_ARM_PRESUME_NEON_INTR",
                    "OPUS_ARM_PRESUME_AARCH64_NEON_INTR",
                ],
            ),
            // ARMv7 without NEON, which not every board has: the instructions for signals.
            "arm" => (
                &[],
                &[
                    "OPUS_ARM_ASM",
                    "OPUS_ARM_INLINE_ASM",
                    "OPUS_ARM_INLINE_EDSP",
                    "OPUS_ARM_INLINE_MEDIA",
                ],
            ),
            _ => (&[], &[]),
        }
    }

    /// The files of a list: `NAME = \`, then a file to a line, each but the last with a `\`.
    fn files(&self, list: &str) -> Vec<PathBuf> {
        for makefile in ["celt_sources.mk", "silk_sources.mk", "opus_sources.mk"] {
            let path = self.source.join(makefile);
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
            let line = text.lines().find_map(|line| {
                let (name, files) = line.split_once('=')?;
                (name.trim() == list).then(|| files.to_owned())
            });
            if let Some(files) = line {
                return files.split_whitespace().map(|file| self.source.join(file)).collect();
            }
        }
        panic!("libopus has no list {list} of source files")
    }

    fn version(&self) -> String {
        let text = fs::read_to_string(self.source.join("package_version")).unwrap_or_default();
        text.split('"').nth(1).unwrap_or("unknown").to_owned()
    }

    fn is_on(&self, option: &str) -> bool {
        self.defines.get(option).is_some_and(|value| value == "ON")
    }
}
