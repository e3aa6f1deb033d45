//! Programs that the benchmark starts: each on one processor, none of them left behind.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use nix::sched::{sched_setaffinity, CpuSet};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{getrlimit, getrusage, setrlimit, Resource, UsageWho};
use nix::sys::signal::{kill, Signal};
use nix::time::{clock_getcpuclockid, clock_gettime, ClockId};
use nix::unistd::Pid;
use tempfile::{Builder, TempDir};
use tokio::time::timeout;

use crate::client::{self, Clients};
use crate::files::read;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// The scratch directory of one run, removed at its end.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new() -> Result<Self> {
        // A worker of another user may have to look into it.
        let permissions = Permissions::from_mode(0o755);
        let directory =
            Builder::new().prefix("websocket-guard-bench-").permissions(permissions).tempdir();
        Ok(Self(directory.context("a scratch directory")?))
    }

    /// A directory of its own for one program.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

/// A loopback address that nobody listens on, outside of the range that connections take theirs from.
pub fn free_address() -> Result<SocketAddr> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);

    let start = 12000 + (std::process::id() % 15000) as u16;
    for _ in 0..1000 {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(anyhow!("no free port"))
}

/// As many open files as this user may have; returns their number.
pub fn raise_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Keeps this process, and what it will start, on one processor.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("processor {cpu}"))
}

/// CPU time of this process, load and backend.
pub fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// `exec CPU COMMAND ...`: becomes a program that is pinned and that ends when its starter does.
pub fn exec(arguments: Vec<OsString>) -> Result<()> {
    let mut arguments = arguments.into_iter();
    let cpu = arguments.next().and_then(|cpu| cpu.to_str()?.parse().ok());
    let (Some(cpu), Some(program)) = (cpu, arguments.next()) else {
        bail!("exec CPU COMMAND ...");
    };
    pin(cpu)?;
    set_pdeathsig(Signal::SIGTERM)?;
    Err(Command::new(&program).args(arguments).exec())
        .with_context(|| program.to_string_lossy().into_owned())
}

/// `measure COMMAND ...`: runs a program and prints its CPU time in microseconds and its peak memory in KiB.
/// The kernel keeps these for all children together, hence a process for each.
pub fn measure(arguments: Vec<OsString>) -> Result<()> {
    set_pdeathsig(Signal::SIGTERM)?;
    let mut arguments = arguments.into_iter();
    let program = arguments.next().ok_or_else(|| anyhow!("measure COMMAND ..."))?;
    let status = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .with_context(|| program.to_string_lossy().into_owned())?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    println!("{} {}", cpu.tv_sec() * 1_000_000 + cpu.tv_usec(), usage.max_rss());
    if status.success() {
        Ok(())
    } else {
        Err(anyhow!("{}: {status}", program.to_string_lossy()))
    }
}

/// A command of its own on a processor, see `exec`.
pub fn pinned(cpu: usize, program: impl Into<OsString>) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("exec").arg(cpu.to_string()).arg(program.into());
    Ok(command)
}

/// A proxy that is running.
pub struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    pub address: SocketAddr,
    processes: Vec<Pid>,
}

impl Server {
    /// Starts it and waits until it can carry a tunnel. What it prints goes to a file.
    pub async fn start(
        name: &'static str,
        clients: Clients,
        mut command: Command,
        log: PathBuf,
        address: SocketAddr,
    ) -> Result<Self> {
        let output = fs::File::create(&log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| name.to_owned())?;
        let mut server = Self { name, child, log, address, processes: Vec::new() };
        server.ready(clients).await.with_context(|| format!("starting {name}"))?;
        server.processes = server.tree()?;
        Ok(server)
    }

    async fn ready(&mut self, clients: Clients) -> Result<()> {
        let end = Instant::now() + START;
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                let log = read(&self.log)?;
                bail!("{status}\n{}", log.trim_end());
            }
            if Instant::now() > end {
                bail!("it does not listen");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let tunnel = timeout(START, client::open(self.address, clients))
            .await
            .context("no answer in time")??;
        client::close(tunnel).await
    }

    /// The process and its descendants.
    fn tree(&self) -> Result<Vec<Pid>> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            // A process may be gone by now. The name in parentheses may hold anything.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2)?.parse().ok());
            parents.extend(parent.map(|parent: i32| (pid, parent)));
        }
        let mut tree = vec![self.child.id() as i32];
        let mut at = 0;
        while let Some(&parent) = tree.get(at) {
            tree.extend(parents.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
            at += 1;
        }
        Ok(tree.into_iter().map(Pid::from_raw).collect())
    }

    /// CPU time of all its processes and their threads.
    pub fn cpu(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for &pid in &self.processes {
            let clock = clock_getcpuclockid(pid)
                .with_context(|| format!("a process of {} has ended", self.name))?;
            sum += Duration::from(clock_gettime(clock)?);
        }
        Ok(sum)
    }

    /// Memory of all its processes in KiB, what they share counted once.
    pub fn memory(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.tree()? {
            let rollup = read(Path::new(&format!("/proc/{pid}/smaps_rollup")))?;
            let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let pss = pss.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
            sum += pss.ok_or_else(|| anyhow!("no Pss for process {pid}"))?;
        }
        Ok(sum)
    }

    /// Ends it and waits for its end; an error is what it printed if it did not end well.
    pub async fn stop(mut self) -> Result<()> {
        let end = Instant::now() + STOP;
        for pause in 0u32.. {
            match self.child.try_wait()? {
                Some(status) if status.success() || status.code().is_none() => return Ok(()),
                Some(status) => {
                    let log = read(&self.log)?;
                    bail!("{} ended with {status}\n{log}", self.name);
                }
                None if Instant::now() > end => {
                    bail!("{} does not end", self.name);
                }
                // An nginx that is about to wait for events sleeps over a signal, so it gets more than one.
                None if pause % 100 == 4 => {
                    kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM)?
                }
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(3);
        // Not after its end, when the number may be another's.
        while matches!(self.child.try_wait(), Ok(None)) {
            let expired = Instant::now() > end;
            let signal = if expired { Signal::SIGKILL } else { Signal::SIGTERM };
            for pid in self.tree().unwrap_or_default().into_iter().take(if expired {
                usize::MAX
            } else {
                1
            }) {
                // It may end by itself meanwhile.
                let _ = kill(pid, signal);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
