//! Files to copy, made of bytes that no file system can shorten.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use crate::process::Result;

/// Writes a file of pseudo-random bytes and flushes it.
pub(super) fn write(path: &Path, size: u64, seed: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            // xorshift64: quick, and nothing here needs better.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..length])?;
        left -= length as u64;
    }
    file.sync_all()?;
    Ok(())
}

/// Fills a new folder with small files, a hundred to a folder.
pub(super) fn write_tree(folder: &Path, count: u64, size: u64) -> Result<()> {
    make_tree_folders(folder, count)?;
    for number in 0..count {
        let path = folder.join(tree_name(number));
        let mut text = format!("{number:020}").into_bytes();
        text.resize(usize::try_from(size)?, b'x');
        fs::write(&path, text)?;
    }
    Ok(())
}

/// Makes the folders that the files of a tree stand in.
pub(super) fn make_tree_folders(folder: &Path, count: u64) -> Result<()> {
    for hundred in 0..count.div_ceil(100) {
        fs::create_dir_all(folder.join(format!("{hundred:03}")))?;
    }
    Ok(())
}

/// The name of a file of the tree.
pub(super) fn tree_name(number: u64) -> String {
    format!("{:03}/{number:06}", number / 100)
}

/// Removes what is there, file or folder or nothing.
pub(super) fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)?;
    } else if path.exists() {
        fs::remove_file(path)?;
    }
    Ok(())
}
