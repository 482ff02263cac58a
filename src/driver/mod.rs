#[cfg(test)]
pub mod test_folder;
