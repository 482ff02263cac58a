//! What commands print. Who reads may stop early (`branchline history | head`): that ends the
//! command without a word, as users of pipes expect.

use std::io::{ErrorKind, Write as _};

/// Prints text on standard output.
pub fn put(text: &str) {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            // Standard error is all that is left to say it on.
            let _ = writeln!(std::io::stderr(), "branchline: standard output: {error}");
            std::process::exit(1);
        }
    }
}
