//! Whether the program of a stdio server is there.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Whether this program can be started: a path from the working folder, or a name in one of the folders of `path`.
pub(super) fn is_there(program: &str, cwd: &Path, path: Option<&OsStr>) -> bool {
    if program.contains('/') {
        return is_executable(&cwd.join(program));
    }
    std::env::split_paths(path.unwrap_or_default()).any(|folder: PathBuf| is_executable(&folder.join(program)))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_a_path_or_a_name_in_a_folder_of_the_search_path() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tool");
        fs::write(&file, "").unwrap();
        let found = |program: &str| is_there(program, dir.path(), Some(dir.path().as_os_str()));
        assert!(!found("tool") && !found("./tool"), "it is not executable");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(found("tool") && found("./tool") && found(&file.display().to_string()));
        assert!(!found("other") && !found("./other"));
        assert!(!is_there("tool", dir.path(), None), "a name is not looked for in the working folder");
    }
}
