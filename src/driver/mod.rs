pub mod disk;
pub mod process;
pub mod sounds;
pub mod speech;

#[cfg(test)]
mod test_folder;
mod trim;
