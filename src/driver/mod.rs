pub mod disk;

#[cfg(test)]
mod test_folder;
mod trim;
