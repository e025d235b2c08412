//! What users of the cloud need: `clouds.yaml` and `openrc` in the state directory, 0600, since both hold the password.

use std::path::{Path, PathBuf};

use serde_json::json;
use zeroize::Zeroizing;

use super::http::CloudResult;
use crate::model::desired::IdentityAccess;
use crate::store::{files, tls};

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// For `openstack --os-cloud DEPLOYMENT` and every SDK: `OS_CLIENT_CONFIG_FILE` names it.
    pub clouds: PathBuf,
    /// For `source`.
    pub openrc: PathBuf,
}

/// Writes both files, each atomically and only when it would change; the cloud is called like the deployment.
pub fn write_client_files(
    state: &Path,
    deployment: &str,
    region: &str,
    access: &IdentityAccess,
) -> CloudResult<ClientFiles> {
    files::create_private_dir(state)?;
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let cacert = access.url.starts_with("https:").then(|| tls::ca_path(&state));
    let paths = ClientFiles { clouds: state.join("clouds.yaml"), openrc: state.join("openrc") };
    let clouds = clouds_yaml(deployment, region, access, cacert.as_deref());
    write(&paths.clouds, &clouds)?;
    let openrc = openrc(deployment, region, access, cacert.as_deref());
    write(&paths.openrc, &openrc)?;
    Ok(paths)
}

fn write(path: &Path, text: &str) -> CloudResult<()> {
    // One that others can read is an error to the reader, and mended by writing it.
    let known = files::read_private(path).ok().flatten();
    if known.is_none_or(|known| known != text.as_bytes()) {
        files::write_atomic(path, text.as_bytes(), files::PRIVATE)?;
    }
    Ok(())
}

fn clouds_yaml(
    deployment: &str,
    region: &str,
    access: &IdentityAccess,
    ca: Option<&Path>,
) -> Zeroizing<String> {
    let mut cloud = json!({
        "auth": {
            "auth_url": access.url,
            "username": access.user,
            "password": access.password.expose(),
            "project_name": access.project,
            "user_domain_id": "default",
            "project_domain_id": "default",
        },
        "auth_type": "password",
        "identity_api_version": 3,
        "interface": "public",
        "region_name": region,
    });
    if let Some(ca) = ca {
        cloud["cacert"] = json!(ca.display().to_string());
    }
    // Texts in maps always serialize.
    let yaml = serde_yaml::to_string(&json!({"clouds": {deployment: cloud}})).unwrap_or_default();
    Zeroizing::new(format!("# Made by `mastic post-deploy`; it holds the administrator's password.\n{yaml}"))
}

fn openrc(deployment: &str, region: &str, access: &IdentityAccess, ca: Option<&Path>) -> Zeroizing<String> {
    let mut lines = vec![
        format!("# Made by `mastic post-deploy` for deployment {deployment}: source it in a shell."),
        "for name in $(env | sed -n 's/^\\(OS_[A-Z0-9_]*\\)=.*/\\1/p'); do unset \"$name\"; done; unset name"
            .to_owned(),
    ];
    let mut export = |name: &str, value: &str| lines.push(format!("export {name}={}", quoted(value)));
    export("OS_AUTH_URL", &access.url);
    export("OS_AUTH_TYPE", "password");
    export("OS_USERNAME", &access.user);
    export("OS_PASSWORD", access.password.expose());
    export("OS_PROJECT_NAME", &access.project);
    export("OS_USER_DOMAIN_ID", "default");
    export("OS_PROJECT_DOMAIN_ID", "default");
    export("OS_IDENTITY_API_VERSION", "3");
    export("OS_INTERFACE", "public");
    export("OS_REGION_NAME", region);
    if let Some(ca) = ca {
        export("OS_CACERT", &ca.display().to_string());
    }
    Zeroizing::new(lines.join("\n") + "\n")
}

/// Quotes for a POSIX shell: nothing is special between single quotes but the quote itself.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
