//! One connection with one deadline for everything that happens on it.

use core::fmt;

use super::target::HostPort;
use crate::sys::file::{self, Fd};
use crate::sys::net::{self, Ready};
use crate::sys::{self, Errno};

/// Why a check failed, in the words of its report.
#[derive(Debug)]
pub enum Failure {
    /// The step that failed and the system's reason.
    System(&'static str, Errno),
    /// The deadline passed during this step.
    Timeout(&'static str),
    UnknownHost,
    /// The peer answered, but not what was asked for.
    Wrong(alloc::string::String),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(step, errno) => write!(out, "{step}: {errno}"),
            Self::Timeout(step) => write!(out, "{step}: timed out"),
            Self::UnknownHost => out.write_str("host is neither an address, localhost, nor in /etc/hosts"),
            Self::Wrong(what) => out.write_str(what),
        }
    }
}

/// Reading and writing, in the clear or encrypted.
pub trait Transport {
    /// Reads at least one byte, or none at the end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure>;
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure>;
}

pub struct Stream {
    fd: Fd,
    deadline: u64,
}

impl Stream {
    /// Connects to the first address that answers; reports the last failure.
    pub fn connect(address: &HostPort, deadline: u64) -> Result<Self, Failure> {
        let addresses = address.addresses(|| file::read_path(c"/etc/hosts", 1 << 20).unwrap_or_default());
        let mut result = Err(Failure::UnknownHost);
        for address in addresses {
            result =
                net::connect(&address).map_err(|errno| Failure::System("connect", errno)).and_then(|fd| {
                    let stream = Self { fd, deadline };
                    stream.wait(Ready::Write, "connect")?;
                    net::connection_error(&stream.fd).map_err(|errno| Failure::System("connect", errno))?;
                    Ok(stream)
                });
            if result.is_ok() {
                break;
            }
        }
        result
    }

    pub fn connect_unix(path: &str, deadline: u64) -> Result<Self, Failure> {
        let fd = net::connect_unix(path.as_bytes()).map_err(|errno| Failure::System("connect", errno))?;
        Ok(Self { fd, deadline })
    }

    fn wait(&self, ready: Ready, step: &'static str) -> Result<(), Failure> {
        loop {
            let left = self.deadline.saturating_sub(sys::now());
            match net::wait_ready(&self.fd, ready, left) {
                Ok(true) => return Ok(()),
                Err(Errno(libc::EINTR)) => {}
                Ok(false) if sys::now() < self.deadline => {}
                Ok(false) => return Err(Failure::Timeout(step)),
                Err(errno) => return Err(Failure::System(step, errno)),
            }
        }
    }
}

impl Transport for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        const STEP: &str = "waiting for an answer";
        loop {
            self.wait(Ready::Read, STEP)?;
            match net::receive(&self.fd, buffer) {
                Err(Errno(libc::EAGAIN | libc::EINTR)) => {}
                result => return result.map_err(|errno| Failure::System(STEP, errno)),
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        const STEP: &str = "send";
        while !bytes.is_empty() {
            self.wait(Ready::Write, STEP)?;
            match net::send(&self.fd, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno(libc::EAGAIN | libc::EINTR)) => {}
                Err(errno) => return Err(Failure::System(STEP, errno)),
            }
        }
        Ok(())
    }
}
