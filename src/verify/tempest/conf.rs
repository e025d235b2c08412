//! `tempest.conf` for one cloud. Pure: what was found out about the cloud goes in, a text comes out.

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::model::desired::IdentityAccess;

/// What is known of a cloud, and was made in it, for Tempest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What the names of everything that Tempest makes begin with.
    pub prefix: String,
    /// Region.
    pub region: String,
    /// Where the authority's certificate lies in the container; without it the cloud speaks plain HTTP.
    pub authority: Option<String>,
    /// Nova, if the cloud has it.
    pub compute: Option<Compute>,
    /// Whether there is Glance.
    pub image: bool,
    /// Whether there is Placement.
    pub placement: bool,
    /// Neutron.
    pub network: Option<Network>,
    /// Cinder.
    pub volume: Option<Volume>,
    /// Swift.
    pub object: Option<Object>,
    /// Where the dashboard is.
    pub dashboard: Option<String>,
    /// As whom a guest of the image lets SSH in by its key; without one, no test logs in.
    pub login: Option<String>,
}

/// What is known of Nova, and was made for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// Ids of two images, usable by all projects.
    pub images: [String; 2],
    /// Ids of two flavors, the second one larger, usable by all projects.
    pub flavors: [String; 2],
    /// How many hypervisors there are.
    pub nodes: usize,
    /// Whether consoles can be looked at in a browser.
    pub consoles: bool,
    /// Whether guests are told who they are.
    pub metadata: bool,
}

/// What is known of Neutron.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Id and name of the network that leads out of the cloud.
    pub public: Option<(String, String)>,
    /// Aliases of what it can do.
    pub extensions: Vec<String>,
}

/// What is known of Cinder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its type in the catalogue.
    pub kind: String,
    /// How its backend's volumes are attached, in the backend's word.
    pub protocol: String,
    /// Who made the backend's driver.
    pub vendor: String,
    /// Names of the backends.
    pub backends: Vec<String>,
    /// Whether volumes can be backed up.
    pub backup: bool,
    /// Aliases of what it can do.
    pub extensions: Vec<String>,
}

/// What is known of Swift.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// What its `/info` names.
    pub features: Vec<String>,
}

/// Seconds until a server, a volume, a network must be there: guests may run without hardware virtualisation, on a busy machine.
const BUILD: &str = "600";
/// Seconds for one answer of an API.
const ANSWER: &str = "180";

/// Writes the file. It holds the administrator's password.
pub fn conf(found: &Found, access: &IdentityAccess) -> Zeroizing<String> {
    let mut file = Ini::default();
    file.section("DEFAULT");
    file.set("resource_name_prefix", &found.prefix);
    file.section("oslo_concurrency");
    file.set("lock_path", "/var/lib/tempest/locks");

    file.section("auth");
    file.set("use_dynamic_credentials", "true");
    file.set("tempest_roles", "member");
    file.set("admin_username", &access.user);
    file.set("admin_project_name", &access.project);
    file.set("admin_domain_name", "Default");
    file.set("admin_password", access.password.expose());

    file.section("identity");
    file.set("uri_v3", &access.url);
    file.set("v3_endpoint_type", "public");
    file.set("region", &found.region);
    if let Some(authority) = &found.authority {
        file.set("ca_certificates_file", authority);
    }
    file.section("service-clients");
    file.set("http_timeout", ANSWER);

    file.section("service_available");
    let has = [
        ("nova", found.compute.is_some()),
        ("glance", found.image),
        ("neutron", found.network.is_some()),
        ("cinder", found.volume.is_some()),
        ("swift", found.object.is_some()),
        ("horizon", found.dashboard.is_some()),
    ];
    for (service, there) in has {
        file.flag(service, there);
    }
    // These have enforced scopes and their new defaults by themselves in every release that Mastic builds.
    file.section("enforce_scope");
    for service in ["nova", "neutron", "glance", "placement"] {
        file.flag(service, true);
    }

    if let Some(compute) = &found.compute {
        compute_sections(&mut file, compute);
    }
    if found.placement {
        file.section("placement");
        file.set("max_microversion", "latest");
    }
    if let Some(network) = &found.network {
        network_sections(&mut file, network);
    }
    validation(&mut file, found);
    if let Some(volume) = &found.volume {
        volume_sections(&mut file, volume);
    }
    if let Some(Object { features }) = &found.object {
        file.section("object-storage");
        file.set("operator_role", "member");
        file.set("reseller_admin_role", "ResellerAdmin");
        file.section("object-storage-feature-enabled");
        file.set("discoverable_apis", &features.join(","));
        file.flag("container_sync", features.iter().any(|feature| feature == "container_sync"));
    }
    if let Some(dashboard) = &found.dashboard {
        file.section("dashboard");
        file.set("dashboard_url", dashboard);
    }
    file.text
}

fn compute_sections(file: &mut Ini, compute: &Compute) {
    let Compute { images: [image, image_alt], flavors: [flavor, flavor_alt], nodes, consoles, metadata } =
        compute;
    let several = *nodes > 1;
    file.section("compute");
    file.set("image_ref", image);
    file.set("image_ref_alt", image_alt);
    file.set("flavor_ref", flavor);
    file.set("flavor_ref_alt", flavor_alt);
    file.set("build_timeout", BUILD);
    file.set("min_compute_nodes", &nodes.max(&1).to_string());
    file.set("max_microversion", "latest");
    file.section("compute-feature-enabled");
    file.flag("vnc_console", *consoles);
    file.flag("metadata_service", *metadata);
    file.flag("hostname_fqdn_sanitization", true);
    // All of these take a server to another host.
    for feature in ["resize", "cold_migration", "live_migration", "shelve_migrate"] {
        file.flag(feature, several);
    }
    // Needs a manager of keys.
    file.flag("attach_encrypted_volume", false);
}

fn network_sections(file: &mut Ini, network: &Network) {
    let Network { public, extensions } = network;
    file.section("network");
    if let Some((id, name)) = public {
        file.set("public_network_id", id);
        file.set("floating_network_name", name);
    }
    file.set("build_timeout", BUILD);
    file.section("network-feature-enabled");
    file.set("api_extensions", &extensions.join(","));
    let has = |alias: &str| extensions.iter().any(|extension| extension == alias);
    file.flag("floating_ips", public.is_some() && has("router"));
    file.flag("port_security", has("port-security"));
    file.flag("ipv6_subnet_attributes", true);
}

/// Tests log in where there is a way to a guest and somebody behind it.
fn validation(file: &mut Ini, found: &Found) {
    let reachable = found.network.as_ref().is_some_and(|network| network.public.is_some());
    let login = found.login.as_ref().filter(|_| reachable && found.compute.is_some());
    file.section("validation");
    file.flag("run_validation", login.is_some());
    if let Some(login) = login {
        file.set("connect_method", "floating");
        file.set("auth_method", "keypair");
        file.set("image_ssh_user", login);
        file.set("image_alt_ssh_user", login);
        file.set("ssh_key_type", "ecdsa");
        file.set("ping_timeout", "300");
        file.set("ssh_timeout", "300");
    }
}

fn volume_sections(file: &mut Ini, volume: &Volume) {
    let Volume { kind, protocol, vendor, backends, backup, extensions } = volume;
    file.section("volume");
    file.set("catalog_type", kind);
    file.set("storage_protocol", protocol);
    file.set("vendor_name", vendor);
    file.set("backend_names", &backends.join(","));
    file.set("backup_driver", "posix");
    file.set("build_timeout", BUILD);
    file.set("max_microversion", "latest");
    file.section("volume-feature-enabled");
    file.flag("backup", *backup);
    file.flag("multi_backend", backends.len() > 1);
    file.set("api_extensions", &extensions.join(","));
}

/// A file in the making.
#[derive(Default)]
struct Ini {
    text: Zeroizing<String>,
}

impl Ini {
    fn section(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{gap}[{name}]");
    }

    /// oslo.config strips blanks and one pair of quotes, and puts in other options for `$name`.
    fn set(&mut self, key: &str, value: &str) {
        let value = Zeroizing::new(value.replace('$', "$$"));
        let bare = !value.is_empty()
            && !value.starts_with(|c: char| c.is_whitespace() || "\"'".contains(c))
            && !value.ends_with(|c: char| c.is_whitespace() || "\"'".contains(c));
        let quote = if bare { "" } else { "\"" };
        let _ = writeln!(self.text, "{key} = {quote}{}{quote}", value.as_str());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.set(key, if value { "true" } else { "false" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn access(password: &str) -> IdentityAccess {
        IdentityAccess {
            url: "https://127.0.0.1:5000/v3".to_owned(),
            user: "admin".to_owned(),
            project: "admin".to_owned(),
            password: Secret::new(password),
            after: std::collections::BTreeSet::new(),
        }
    }

    fn whole() -> Found {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Found {
            prefix: "t0a1b2c".to_owned(),
            region: "RegionOne".to_owned(),
            authority: Some("/etc/mastic/tls/ca.crt".to_owned()),
            compute: Some(Compute {
                images: ["image-1", "image-2"].map(str::to_owned),
                flavors: ["flavor-1", "flavor-2"].map(str::to_owned),
                nodes: 1,
                consoles: true,
                metadata: true,
            }),
            image: true,
            placement: true,
            network: Some(Network {
                public: Some(("net-1".to_owned(), "public".to_owned())),
                extensions: strings(&["port-security", "router"]),
            }),
            volume: Some(Volume {
                kind: "block-storage".to_owned(),
                protocol: "nfs".to_owned(),
                vendor: "Open Source".to_owned(),
                backends: strings(&["nfs"]),
                backup: true,
                extensions: strings(&["backups"]),
            }),
            object: Some(Object { features: strings(&["account_quotas", "bulk_upload"]) }),
            dashboard: Some("https://127.0.0.1:8443/".to_owned()),
            login: Some("root".to_owned()),
        }
    }

    #[test]
    fn a_whole_cloud_must_be_told_to_tempest_wholly() {
        insta::assert_snapshot!(*conf(&whole(), &access("secret")), @r#"
        [DEFAULT]
        resource_name_prefix = t0a1b2c

        [oslo_concurrency]
        lock_path = /var/lib/tempest/locks

        [auth]
        use_dynamic_credentials = true
        tempest_roles = member
        admin_username = admin
        admin_project_name = admin
        admin_domain_name = Default
        admin_password = secret

        [identity]
        uri_v3 = https://127.0.0.1:5000/v3
        v3_endpoint_type = public
        region = RegionOne
        ca_certificates_file = /etc/mastic/tls/ca.crt

        [service-clients]
        http_timeout = 180

        [service_available]
        nova = true
        glance = true
        neutron = true
        cinder = true
        swift = true
        horizon = true

        [enforce_scope]
        nova = true
        neutron = true
        glance = true
        placement = true

        [compute]
        image_ref = image-1
        image_ref_alt = image-2
        flavor_ref = flavor-1
        flavor_ref_alt = flavor-2
        build_timeout = 600
        min_compute_nodes = 1
        max_microversion = latest

        [compute-feature-enabled]
        vnc_console = true
        metadata_service = true
        hostname_fqdn_sanitization = true
        resize = false
        cold_migration = false
        live_migration = false
        shelve_migrate = false
        attach_encrypted_volume = false

        [placement]
        max_microversion = latest

        [network]
        public_network_id = net-1
        floating_network_name = public
        build_timeout = 600

        [network-feature-enabled]
        api_extensions = port-security,router
        floating_ips = true
        port_security = true
        ipv6_subnet_attributes = true

        [validation]
        run_validation = true
        connect_method = floating
        auth_method = keypair
        image_ssh_user = root
        image_alt_ssh_user = root
        ssh_key_type = ecdsa
        ping_timeout = 300
        ssh_timeout = 300

        [volume]
        catalog_type = block-storage
        storage_protocol = nfs
        vendor_name = Open Source
        backend_names = nfs
        backup_driver = posix
        build_timeout = 600
        max_microversion = latest

        [volume-feature-enabled]
        backup = true
        multi_backend = false
        api_extensions = backups

        [object-storage]
        operator_role = member
        reseller_admin_role = ResellerAdmin

        [object-storage-feature-enabled]
        discoverable_apis = account_quotas,bulk_upload
        container_sync = false

        [dashboard]
        dashboard_url = https://127.0.0.1:8443/
        "#);
    }

    #[test]
    fn what_the_cloud_has_not_must_be_told_as_missing() {
        let found = Found { region: "RegionOne".to_owned(), prefix: "t0".to_owned(), ..Found::default() };
        insta::assert_snapshot!(*conf(&found, &access("secret")), @r#"
        [DEFAULT]
        resource_name_prefix = t0

        [oslo_concurrency]
        lock_path = /var/lib/tempest/locks

        [auth]
        use_dynamic_credentials = true
        tempest_roles = member
        admin_username = admin
        admin_project_name = admin
        admin_domain_name = Default
        admin_password = secret

        [identity]
        uri_v3 = https://127.0.0.1:5000/v3
        v3_endpoint_type = public
        region = RegionOne

        [service-clients]
        http_timeout = 180

        [service_available]
        nova = false
        glance = false
        neutron = false
        cinder = false
        swift = false
        horizon = false

        [enforce_scope]
        nova = true
        neutron = true
        glance = true
        placement = true

        [validation]
        run_validation = false
        "#);
    }

    #[test]
    fn no_test_may_log_in_where_no_way_leads_to_a_guest() {
        let off = |change: &dyn Fn(&mut Found)| {
            let mut found = whole();
            change(&mut found);
            conf(&found, &access("x")).contains("run_validation = false\n")
        };
        assert!(!off(&|_| {}));
        assert!(off(&|found| found.login = None), "nobody answers");
        assert!(off(&|found| found.network.as_mut().unwrap().public = None), "no way");
        assert!(off(&|found| found.network = None) && off(&|found| found.compute = None));
    }

    #[test]
    fn any_password_must_reach_tempest_as_it_is() {
        let line = |password: &str| {
            let text = conf(&whole(), &access(password));
            text.lines().find(|line| line.starts_with("admin_password")).unwrap().to_owned()
        };
        assert_eq!(line("plain%s"), "admin_password = plain%s");
        assert_eq!(line("a$b"), "admin_password = a$$b");
        assert_eq!(line("'a'"), "admin_password = \"'a'\"");
        assert_eq!(line(" a"), "admin_password = \" a\"");
        assert_eq!(line("x\""), "admin_password = \"x\"\"");
        assert_eq!(line("a=b#c"), "admin_password = a=b#c");
    }

    #[test]
    fn servers_must_be_moved_only_where_there_is_another_host() {
        let mut found = whole();
        found.compute.as_mut().unwrap().nodes = 2;
        let text = conf(&found, &access("x"));
        for line in ["live_migration = true", "resize = true", "min_compute_nodes = 2"] {
            assert!(text.contains(line), "{line}");
        }
    }
}
