//! Secrets from files: `?password-file=PATH&enable-password-file=PATH`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::url::DriverUrl;
use crate::acm::connect::Credentials;
use crate::acm::error::AcmError;
use crate::base::secret::Secret;

/// The options of an address that name files of secrets.
pub(super) const OPTIONS: [&str; 2] = ["password-file", "enable-password-file"];

/// The longest secret accepted, in bytes.
const SECRET_MAX: usize = 512;

/// The profile's secrets, those of the files the address names before the others.
///
/// # Errors
/// `Invalid`, naming the option, for a file that cannot be read, that others may read, or that holds no secret.
pub(super) fn resolve(url: &DriverUrl, given: &Credentials) -> Result<Credentials, AcmError> {
    let mut found = given.clone();
    for (option, place) in OPTIONS.into_iter().zip([&mut found.password, &mut found.enable_password]) {
        if let Some(path) = url.option(option) {
            *place = Some(read(option, Path::new(path))?);
        }
    }
    for (field, secret) in [("password", &found.password), ("enable-password", &found.enable_password)] {
        if secret.as_ref().is_some_and(|secret| !is_typable(secret.expose())) {
            return Err(AcmError::invalid(field, format!("must be 1 to {SECRET_MAX} characters of one line")));
        }
    }
    Ok(found)
}

/// What can be typed at a prompt without meaning something else there.
fn is_typable(secret: &str) -> bool {
    !secret.is_empty() && secret.len() <= SECRET_MAX && !secret.chars().any(char::is_control)
}

fn read(option: &str, path: &Path) -> Result<Secret, AcmError> {
    let wrong = |why: String| AcmError::invalid(option, format!("{}: {why}", path.display()));
    let metadata = fs::metadata(path).map_err(|why| wrong(why.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(wrong("others may read it; chmod 600 it".into()));
    }
    let text = fs::read_to_string(path).map_err(|why| wrong(why.to_string()))?;
    match text.lines().next() {
        Some(line) if is_typable(line) => Ok(line.into()),
        _ => Err(wrong(format!("its first line must be the secret, 1 to {SECRET_MAX} characters"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret_file(dir: &Path, text: &str, mode: u32) -> String {
        let path = dir.join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    }

    fn resolved(path: &str) -> Result<Credentials, AcmError> {
        let url = format!("telnet://host?driver=foundry&password-file={path}").parse().unwrap();
        resolve(&url, &Credentials { enable_password: Some("other".into()), ..Credentials::default() })
    }

    #[test]
    fn the_first_line_is_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let found = resolved(&secret_file(dir.path(), "canary 1\nsecond\n", 0o600)).unwrap();
        assert_eq!((found.password, found.enable_password), (Some("canary 1".into()), Some("other".into())));
    }

    #[test]
    fn unfit_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (text, mode) in [("canary\n", 0o644), ("", 0o600), ("\ncanary", 0o600), ("can\tary", 0o600)] {
            let refused = resolved(&secret_file(dir.path(), text, mode)).unwrap_err();
            assert!(matches!(&refused, AcmError::Invalid { field, .. } if field == "password-file"), "{refused}");
            assert!(!refused.to_string().contains("canary"), "{refused}");
        }
        assert!(resolved("/nowhere/at/all").is_err());
    }
}
