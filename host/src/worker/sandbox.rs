//! Keeps a worker from what is not its own, before its library is loaded: limits, capabilities,
//! Landlock for files, TCP ports and signals, a filter of system calls for the rest. Called on the
//! first thread of the process, before there is another. What is granted is decided in `grants`.

use std::{collections::BTreeMap, env::consts::ARCH, fmt, path::PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::{
    process::{Resource, Rlimit, Signal, getpid, set_parent_process_death_signal, setrlimit},
    thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter,
};
use serde::{Deserialize, Serialize};
use transload_plugin_api::{Error, Result, code};

use super::grants::Grants;

/// Whether a worker starts that the system cannot keep from everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sandbox {
    /// Yes, with a warning.
    #[default]
    BestEffort,
    /// No.
    Required,
}

/// What keeps a worker from the rest of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Achieved {
    /// How much of Landlock the kernel has: `full`, `partial`, `none`.
    pub(super) landlock: Level,
    /// Whether system calls are filtered.
    pub(super) seccomp: bool,
}

/// How much of a rule set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Full,
    Partial,
    None,
}

impl Achieved {
    /// Whether nothing is missing.
    pub(super) fn is_whole(&self) -> bool {
        self.landlock == Level::Full && self.seccomp
    }
}

impl fmt::Display for Achieved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landlock = match self.landlock {
            Level::Full => "full",
            Level::Partial => "partial",
            Level::None => "not available",
        };
        let seccomp = if self.seccomp { "on" } else { "not available" };
        write!(f, "Landlock {landlock}, filter of system calls {seccomp}")
    }
}

/// The version whose rules are asked for: files, TCP, signals and abstract sockets.
const LANDLOCK: ABI = ABI::V6;

/// What every program reads: libraries, names of hosts and users, certificates, time zones.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/dev/urandom",
    "/dev/random",
    "/dev/zero",
    "/proc/self",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

/// Encloses this process.
///
/// # Errors
/// `PLUGIN-SANDBOX` if something cannot be set that the system must have, or that is required.
pub(super) fn enter(
    wanted: Sandbox,
    grants: &Grants,
    library: Option<PathBuf>,
) -> Result<Achieved> {
    let failed = |what: &str, error: &dyn fmt::Display| refused(format!("cannot {what}: {error}"));
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed("follow the program", &error))?;
    limit(Resource::Data, grants.memory).map_err(|error| failed("limit the memory", &error))?;
    limit(Resource::Core, 0).map_err(|error| failed("forbid core dumps", &error))?;
    set_no_new_privs(true).map_err(|error| failed("give up privileges", &error))?;
    drop_capabilities().map_err(|error| failed("give up capabilities", &error))?;
    let landlock = restrict(grants, library).unwrap_or(Level::None);
    let achieved = Achieved { landlock, seccomp: filter(grants).is_ok() };
    if wanted == Sandbox::Required && !achieved.is_whole() {
        let error = refused(format!("this system cannot enclose a plugin: {achieved}"));
        return Err(error.hint("run it on Linux 6.12 or later, or with --sandbox best-effort"));
    }
    Ok(achieved)
}

fn refused(message: String) -> Error {
    Error::denied(message).with_code(code::PLUGIN_SANDBOX)
}

fn limit(resource: Resource, most: u64) -> rustix::io::Result<()> {
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Keeps only what a user with these files needs, if the user is root.
fn drop_capabilities() -> rustix::io::Result<()> {
    let kept = CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::CHOWN
        | CapabilitySet::FOWNER;
    let current = rustix::thread::capabilities(None)?;
    let kept = kept & current.permitted;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: none })
}

/// Landlock: nothing but the system's files, the granted ones, and the granted ports.
fn restrict(grants: &Grants, library: Option<PathBuf>) -> Result<Level, RulesetError> {
    let all = AccessFs::from_all(LANDLOCK);
    let read = AccessFs::from_read(LANDLOCK);
    let readable = grants.read.iter().cloned().chain(library);
    let readable: Vec<_> = readable.chain(SYSTEM.iter().map(PathBuf::from)).collect();
    let port = |port: &u16| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp));
    let ports = grants.ports.iter().map(port);
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(&grants.write, all))?
        .add_rules(path_beneath_rules(["/dev/null"], all))?
        .add_rules(ports)?;
    let status = rules.restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Level::Full,
        RulesetStatus::PartiallyEnforced => Level::Partial,
        RulesetStatus::NotEnforced => Level::None,
    })
}

/// System calls that no reader or writer needs and by which one leaves its process.
const DENIED: &[i64] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Filters system calls: a second process, foreign processes, the kernel's own interfaces, and sockets
/// that Landlock does not tell apart.
fn filter(grants: &Grants) -> Result<(), Box<dyn std::error::Error>> {
    let own = getpid().as_raw_nonzero().get() as u64;
    let differs = |argument, value| SeccompCondition::new(argument, Dword, SeccompCmpOp::Ne, value);
    let rule = |conditions| SeccompRule::new(conditions);
    let thread = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64);
    let mut families = vec![];
    if !grants.ports.is_empty() {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    if grants.unix_sockets {
        families.push(libc::AF_UNIX);
    }
    let families: Result<Vec<_>, _> =
        families.into_iter().map(|family| differs(0, family as u64)).collect();
    let families = families?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        DENIED.iter().map(|call| (*call, vec![])).collect();
    rules.insert(libc::SYS_kill, vec![rule(vec![differs(0, own)?])?]);
    rules.insert(libc::SYS_tgkill, vec![rule(vec![differs(0, own)?])?]);
    rules.insert(libc::SYS_prlimit64, vec![rule(vec![differs(0, 0)?, differs(0, own)?])?]);
    rules.insert(
        libc::SYS_prctl,
        vec![rule(vec![SeccompCondition::new(
            0,
            Dword,
            SeccompCmpOp::Eq,
            libc::PR_SET_PDEATHSIG as u64,
        )?])?],
    );
    rules.insert(libc::SYS_clone, vec![rule(vec![SeccompCondition::new(0, Dword, thread, 0)?])?]);
    let sockets = if families.is_empty() { vec![] } else { vec![rule(families)?] };
    rules.insert(libc::SYS_socket, sockets);
    deny(rules, libc::EPERM)?;
    // Its flags are behind a pointer; the C library then uses `clone`.
    deny(BTreeMap::from([(libc::SYS_clone3, vec![])]), libc::ENOSYS)
}

fn deny(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let refused = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, ARCH.try_into()?)?;
    apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(())
}
