//! `edge run`: components on this machine, fed from the command line.
//!
//! ```text
//!   stdin ─ lines or envelopes ─┐
//!   --body, --property ─────────┴─► module/input ─► … ─► $upstream ─► stdout, one JSON object a line
//!   --timer, --twin, --method                            module logs, rejected messages ─► stderr
//! ```
//!
//! With `--as` none of this: a process of this machine becomes a module of a running daemon.
//!
//! It ends when its input has and every message is handled; with timers or services, when those do,
//! at `--for` or at Ctrl-C.

mod act;
mod args;
mod deployment;
mod input;
mod output;
mod progress;
mod report;
mod watch;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use edge_core::{EndpointId, ModuleId};
use edge_daemon::{Interest, LocalConfig, LocalDevice, ServiceEnd};

pub(crate) use args::Args;

use crate::exit::{Code, Exit, say};
use deployment::Plan;
use report::Logs;

/// Every module gets this long to end the step that it is in.
const GRACE: Duration = Duration::from_millis(500);

/// What can happen while modules run.
enum Event {
    /// The input has ended; how many lines could not be taken.
    InputEnded(Result<input::Fed, Exit>),
    /// A service ended.
    ServiceEnded(ModuleId, ServiceEnd),
    /// A component file changed.
    Changed(ModuleId),
    /// Ctrl-C.
    Interrupted,
}

/// How the wait for what was begun ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// Nothing waits any more.
    Quiet,
    /// Something does, and nobody waits longer for it.
    TimeUp,
    /// The same, because of Ctrl-C.
    Interrupted,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<ExitCode, Exit> {
    if let Some(module) = &args.acting.module {
        return act::run(&args.acting, module);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the async runtime")
        .map_err(Exit::incomplete)?;
    let (events, happened) = channel();
    let interrupts = events.clone();
    let started = Arc::new(AtomicBool::new(false));
    let has_started = started.clone();
    runtime.spawn(async move {
        // Before anything runs (compiling takes its time) and the second time, Ctrl-C ends the process
        // at once, whatever it is doing.
        while tokio::signal::ctrl_c().await.is_ok() {
            let first = has_started.swap(false, Ordering::AcqRel);
            if !first || interrupts.send(Event::Interrupted).is_err() {
                std::process::exit(i32::from(Code::Interrupted as u8));
            }
        }
    });
    let run = Run::start(args, &runtime, events)?;
    started.store(true, Ordering::Release);
    let code = run.until_done(&happened);
    // What still waits in a guest is not waited for.
    runtime.shutdown_background();
    code
}

struct Run {
    args: Args,
    plan: Plan,
    device: LocalDevice,
    output: output::Running,
    begin: Instant,
    services_left: usize,
    service_failed: bool,
    _watcher: Option<watch::Watcher>,
}

impl Run {
    fn start(
        args: Args,
        runtime: &tokio::runtime::Runtime,
        events: Sender<Event>,
    ) -> Result<Self, Exit> {
        let plan = Plan::new(&args)?;
        let interest = Interest {
            compiling: Some(Box::new(progress::Spinner)),
            dead_letter: Some(Box::new(|letter| say(&report::dead_letter(letter)))),
        };
        let config = LocalConfig {
            device: plan.device.clone(),
            deployment: plan.deployment.clone(),
            routes: plan.routes,
            base: plan.base.clone(),
            cache: args.cache_dir(),
            logs: Arc::new(Logs::new(args.log)),
            tokio: runtime.handle().clone(),
        };
        let mut device = LocalDevice::start(config, interest).map_err(Exit::usage)?;
        for skipped in device.skipped() {
            say(&format!(
                "module {} skipped: {}",
                skipped.module, skipped.why
            ));
        }
        for route in device.dead_ends() {
            say(&format!(
                "route {route} leads to a module that does not run here: what it takes is dropped"
            ));
        }
        let output = output::start(&device).map_err(Exit::incomplete)?;
        let services_left = watch_services(&mut device, runtime, &events);
        let watcher = match args.watch {
            true => Some(watch::start(&device, events.clone()).map_err(Exit::usage)?),
            false => None,
        };
        let run = Self {
            begin: Instant::now(),
            args,
            plan,
            device,
            output,
            services_left,
            service_failed: false,
            _watcher: watcher,
        };
        run.feed(events)?;
        Ok(run)
    }

    /// Starts whatever brings messages: one from the command line, standard input, or nothing.
    fn feed(&self, events: Sender<Event>) -> Result<(), Exit> {
        // Where only methods are called, `--to` names a module that need not take messages.
        let only_methods = self.args.body.is_none() && !self.args.method.is_empty();
        let target = if only_methods { None } else { self.target()? };
        let Some(target) = target else {
            // Nothing takes messages, or only methods are called.
            let _ = events.send(Event::InputEnded(Ok(input::Fed::default())));
            return Ok(());
        };
        let properties = self.args.property.clone();
        if let Some(body) = &self.args.body {
            let fed = input::one(self.device.feeders().of(&target), body, &properties);
            let _ = events.send(Event::InputEnded(fed));
            return Ok(());
        }
        if std::io::stdin().is_terminal() {
            say(&format!(
                "reading messages for {target} from the terminal, one a line; Ctrl-D ends"
            ));
        }
        let format = self.args.format;
        let inputs = input::Inputs::new(&self.device, target);
        // A thread of its own, because nothing interrupts a read; the process does not wait for it.
        std::thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                let fed = input::lines(std::io::stdin().lock(), inputs, format, &properties);
                let _ = events.send(Event::InputEnded(fed));
            })
            .map(drop)
            .context("start the input thread")
            .map_err(Exit::incomplete)
    }

    /// The input that messages go to; none where no module takes any.
    fn target(&self) -> Result<Option<EndpointId>, Exit> {
        let takes = |module: &ModuleId| {
            self.device
                .modules()
                .any(|prepared| prepared.module() == module && prepared.handles_messages())
        };
        let module = match &self.args.to {
            Some(to) if takes(&to.module) => to.module.clone(),
            Some(to) => {
                return Err(Exit::usage(anyhow!(
                    "--to {}: no module of that name takes messages here",
                    to.module
                )));
            }
            None => match self
                .device
                .modules()
                .find(|prepared| prepared.handles_messages())
            {
                Some(prepared) => prepared.module().clone(),
                None if self.args.body.is_some() => {
                    return Err(Exit::usage(anyhow!(
                        "--body: none of the modules takes messages"
                    )));
                }
                None => return Ok(None),
            },
        };
        let input = self.args.to.as_ref().and_then(|to| to.input.clone());
        let input = input.unwrap_or_else(|| self.args.input.clone());
        Ok(Some(EndpointId::module_input(module, &input)))
    }

    fn until_done(mut self, happened: &Receiver<Event>) -> Result<ExitCode, Exit> {
        let end = self.args.duration.map(|span| self.begin + span.0);
        let mut fed: Option<input::Fed> = None;
        let mut interrupted = false;
        loop {
            if self.output.has_failed() {
                break;
            }
            if fed.is_some() && self.services_left == 0 && !self.goes_on() {
                break;
            }
            match wait(happened, end) {
                Some(Event::InputEnded(result)) => fed = Some(result?),
                Some(Event::ServiceEnded(module, outcome)) => self.service_ended(&module, outcome),
                Some(Event::Changed(module)) => self.reload(&module),
                Some(Event::Interrupted) => {
                    interrupted = true;
                    break;
                }
                None if end.is_some_and(|end| Instant::now() >= end) => break,
                None => {}
            }
        }
        let ended = fed.is_some() && self.services_left == 0;
        let drained = self.drain(happened, interrupted)?;
        interrupted |= drained == Drained::Interrupted;
        let quiet = drained == Drained::Quiet;
        self.finish(fed.unwrap_or_default(), ended, interrupted, quiet)
    }

    /// Whether something goes on by itself after the input has ended.
    fn goes_on(&self) -> bool {
        self.device.modules().any(|prepared| prepared.has_timers())
    }

    fn service_ended(&mut self, module: &ModuleId, outcome: ServiceEnd) {
        self.services_left -= 1;
        if let ServiceEnd::Failed(why) = outcome {
            self.service_failed = true;
            say(&format!("module {module} failed: {why}"));
        }
    }

    fn reload(&self, module: &ModuleId) {
        let begin = Instant::now();
        match self.device.reload(module) {
            Ok(Some(prepared)) => say(&format!(
                "module {module}: new build {} taken up in {} ms",
                prepared.digest(),
                begin.elapsed().as_millis()
            )),
            Ok(None) => {}
            Err(error) => say(&format!(
                "module {module}: new build not taken up, the old one goes on: {error}"
            )),
        }
    }

    /// Lets what was begun come to its end.
    fn drain(&mut self, happened: &Receiver<Event>, interrupted: bool) -> Result<Drained, Exit> {
        let deadline = match interrupted {
            true => Instant::now(),
            false => Instant::now() + self.args.drain.0,
        };
        let mut called = false;
        loop {
            let step = deadline.min(Instant::now() + Duration::from_millis(50));
            if self.device.wait_until_quiet(Some(step)) {
                if called || interrupted {
                    return Ok(Drained::Quiet);
                }
                // Methods see what the messages did; then their own sends are waited for.
                called = true;
                self.call_methods()?;
                continue;
            }
            if Instant::now() >= deadline || self.output.has_failed() {
                return Ok(Drained::TimeUp);
            }
            match happened.try_recv() {
                Ok(Event::Interrupted) => return Ok(Drained::Interrupted),
                Ok(Event::ServiceEnded(module, outcome)) => self.service_ended(&module, outcome),
                Ok(Event::InputEnded(_) | Event::Changed(_)) | Err(_) => {}
            }
        }
    }

    fn call_methods(&self) -> Result<(), Exit> {
        for call in &self.args.method {
            let module = self.plan.method_target(&self.args, &self.device)?;
            let answer = self
                .device
                .invoke(&module, &call.name, &call.payload, Duration::from_secs(30))
                .with_context(|| format!("method {} of {module}", call.name))
                .map_err(Exit::incomplete)?;
            output::method(&module, &call.name, &answer).map_err(Exit::incomplete)?;
        }
        Ok(())
    }

    fn finish(
        self,
        fed: input::Fed,
        ended: bool,
        interrupted: bool,
        quiet: bool,
    ) -> Result<ExitCode, Exit> {
        let stuck = self.device.stop(GRACE);
        for module in stuck {
            say(&format!("module {module} did not stop in time"));
        }
        // Before anything is called left: what was sent comes out first.
        let output = self.output.stop(GRACE);
        let mut clean = quiet && !self.service_failed;
        for line in report::left(&self.device.queues()) {
            clean = false;
            say(&line);
        }
        if let Some(line) = report::totals(
            self.device.dead_letters(),
            self.device.expired(),
            fed.refused,
        ) {
            clean = false;
            say(&line);
        }
        output.map_err(Exit::incomplete)?;
        if let Some(twin) = &self.plan.twin_of {
            let reported = self.device.reported(twin).map_err(Exit::incomplete)?;
            output::reported(twin, &reported).map_err(Exit::incomplete)?;
        }
        Ok(match (interrupted, clean) {
            (true, true) if ended => ExitCode::SUCCESS,
            (true, _) => Code::Interrupted.into(),
            (false, true) => ExitCode::SUCCESS,
            (false, false) => Code::Incomplete.into(),
        })
    }
}

/// The next event; none when `end` comes first, or after a while in which nothing happened.
fn wait(happened: &Receiver<Event>, end: Option<Instant>) -> Option<Event> {
    const LOOK_AGAIN: Duration = Duration::from_millis(200);
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    // A closed channel is silence too: whatever sent events has ended.
    happened
        .recv_timeout(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)))
        .ok()
}

/// Waits for the services in the background; says how many there are.
fn watch_services(
    device: &mut LocalDevice,
    runtime: &tokio::runtime::Runtime,
    events: &Sender<Event>,
) -> usize {
    let services = device.take_services();
    let count = services.len();
    for (module, mut service) in services {
        let events = events.clone();
        runtime.spawn(async move {
            let end = service.ended().await;
            let _ = events.send(Event::ServiceEnded(module, end));
        });
    }
    count
}
