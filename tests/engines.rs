//! An engine address that a profile may hold is one that the program can use, and the other way round.

mod fixture;

use mastic::engine::endpoint::Endpoint;
use mastic::profile;

#[test]
fn a_profile_must_take_just_the_engines_that_can_be_reached() {
    for (engine, tls) in [
        ("unix:///var/run/docker.sock", false),
        ("unix:///var/run/docker.sock", true),
        ("unix://run/docker.sock", false),
        ("unix://", false),
        ("tcp://10.0.0.2:2376", true),
        ("tcp://10.0.0.2:2376", false),
        ("tcp://10.0.0.2", true),
        ("tcp://:2376", true),
        ("tcp://127.0.0.1:2375", false),
        ("tcp://localhost:2375", false),
        ("tcp://[::1]:2375", false),
        ("tcp+plain://10.0.0.2:2375", false),
        ("tcp+plain://10.0.0.2:2375", true),
        ("ssh://root@10.0.0.2", false),
        ("http://10.0.0.2:2375", false),
        ("10.0.0.2:2375", false),
        ("", false),
    ] {
        let certificates = if tls { "tls: certs, " } else { "" };
        let text = fixture::PROFILE
            .replace("engine: \"unix:///var/run/docker.sock\"", "engine: \"unix:///other.sock\"")
            .replace(
                "engine: \"tcp://10.0.0.2:2376\", tls: certs, ",
                &format!("engine: \"{engine}\", {certificates}"),
            );
        let taken = profile::load("test.yaml", &text, &fixture::small());
        let usable = Endpoint::parse(engine, tls.then_some("certs"));
        assert_eq!(taken.is_ok(), usable.is_ok(), "{engine} with tls {tls}: {taken:?} {usable:?}");
    }
}
