//! The program that runs in the containers of the conformance suite: does what its arguments say, one after the other.
//!
//! Compiled by the suite itself into a static binary, so that an image of one file is enough.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

fn main() {
    for word in std::env::args().skip(1) {
        let (verb, rest) = word.split_once(':').unwrap_or((&word, ""));
        match verb {
            "out" => println!("{rest}"),
            "err" => eprintln!("{rest}"),
            "sleep" => std::thread::sleep(Duration::from_millis(rest.parse().unwrap())),
            "forever" | "stubborn" => loop {
                std::thread::park();
            },
            "exit" => std::process::exit(rest.parse().unwrap()),
            "cat" => {
                let mut input = Vec::new();
                std::io::stdin().read_to_end(&mut input).unwrap();
                std::io::stdout().write_all(&input).unwrap();
            }
            // Answers each line at once, as a shell would.
            "echo" => {
                for line in std::io::stdin().lines() {
                    println!("heard {}", line.unwrap());
                }
            }
            "env" => println!("{}", std::env::var(rest).unwrap_or_default()),
            "user" => {
                let me = std::fs::metadata("/proc/self").unwrap();
                println!("{}:{}", me.uid(), me.gid());
            }
            "pwd" => println!("{}", std::env::current_dir().unwrap().display()),
            "link" => println!("{}", std::fs::read_link(rest).unwrap().display()),
            "write" => {
                let done = std::fs::write(rest, "x");
                println!("{}", done.map_or_else(|error| error.kind().to_string(), |()| "written".to_owned()));
            }
            "read" => print!("{}", std::fs::read_to_string(rest).unwrap_or_else(|e| format!("{rest}: {e}\n"))),
            other => panic!("the probe does not know {other}"),
        }
    }
}
