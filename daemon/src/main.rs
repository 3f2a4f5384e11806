//! `nebulad`: reads the command line and the configuration, and plays the role that was asked for.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use nebula_daemon::app::{self, Start};
use nebula_daemon::cli::{CheckArgs, Cli, Command, DoctorArgs, ServeArgs, check, doctor};
use nebula_daemon::config::{self, Config, DOCUMENTED, Environment, Flags, LogFormat};
use nebula_daemon::lifecycle::{DataDirLock, Exit, Holder, Lifecycle, Tenure};
use nebula_daemon::serve::Listeners;
use nebula_daemon::telemetry::{Exporter, Health, Log, Output};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What blocking threads get to end after the daemon has.
const THREADS_END: Duration = Duration::from_secs(2);
/// After a forced stop nothing is waited for.
const EXIT_FORCED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("the runtime does not start: {error}")),
    };
    let outcome = runtime.block_on(play(cli));
    runtime.shutdown_timeout(THREADS_END);
    match outcome {
        Ok(code) => code,
        Err(error) => complain(&format!("{error:#}")),
    }
}

fn complain(error: &impl Display) -> ExitCode {
    eprintln!("nebulad: {error}");
    ExitCode::FAILURE
}

async fn play(cli: Cli) -> Result<ExitCode> {
    let flags = Flags::from(&cli.common);
    let environment = Environment::of_process();
    if let Command::Check(args) = &cli.command {
        return check_role(&flags, &environment, args).await;
    }
    let config = config::load(&flags, &environment)?;
    match cli.command {
        Command::Serve(args) => serve_role(config, flags, environment, args).await,
        Command::Worker(args) => {
            let life = begin(&config, flags, environment)?;
            app::worker(config, args, life).await.map(exit_code)
        }
        Command::Check(_) => Ok(ExitCode::SUCCESS),
        Command::Migrate => {
            quiet_log(&config)?;
            config.prepare_data_dir()?;
            app::migrate(config).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Keys(command) => {
            quiet_log(&config)?;
            config.prepare_data_dir()?;
            app::keys(config, command).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Fsck(args) => {
            quiet_log(&config)?;
            // A repair trusts what it counted, so nobody may write meanwhile.
            let holder = Holder::this_process(now(), "nowhere: it runs fsck --repair".to_owned());
            let _lock = args
                .repair
                .then(|| DataDirLock::take(&config.data.dir, Tenure::Resident, holder))
                .transpose()?;
            let clean = app::fsck(config, args).await?;
            Ok(success_if(clean))
        }
        Command::Scrub(args) => {
            quiet_log(&config)?;
            let sound = app::scrub(config, args).await?;
            Ok(success_if(sound))
        }
        Command::Backup(args) => {
            quiet_log(&config)?;
            let well = app::backup(config, &environment, args).await?;
            Ok(success_if(well))
        }
        Command::Restore(args) => {
            quiet_log(&config)?;
            config.prepare_data_dir()?;
            let holder = Holder::this_process(now(), "a restore".to_owned());
            let _lock = DataDirLock::take(&config.data.dir, Tenure::Resident, holder)?;
            let whole = app::restore(config, &environment, args).await?;
            Ok(success_if(whole))
        }
        Command::Export(args) => {
            quiet_log(&config)?;
            let whole = app::export(config, args).await?;
            Ok(success_if(whole))
        }
        Command::Drain(args) => {
            quiet_log(&config)?;
            let emptied = app::drain(config, args).await?;
            Ok(success_if(emptied))
        }
        Command::Doctor(args) => {
            quiet_log(&config)?;
            doctor_role(&config, &args).await
        }
    }
}

async fn serve_role(
    config: Config,
    flags: Flags,
    environment: Environment,
    args: ServeArgs,
) -> Result<ExitCode> {
    let life = begin(&config, flags, environment)?;
    let exporter = Exporter::install()?;
    config.prepare_data_dir()?;

    // The lock before the port: who lives in this directory is the better answer to a second start.
    let tenure = if args.candidate {
        Tenure::Candidate
    } else {
        Tenure::Resident
    };
    let holder = Holder::this_process(now(), config.server.listen.to_string());
    app::unfinished(&config)?;
    let lock = DataDirLock::take_in_turn(&config.data.dir, tenure, holder).await?;
    let mut listeners = Listeners::open(config.server.listen, args.health.as_deref())?;
    let lock = tokio::spawn(lock.hold(life.over()));
    life.answer_health(&mut listeners);
    life.tracker().spawn(exporter.clone().keep(life.over()));

    let served = app::serve(Start {
        config,
        life: life.clone(),
        listeners,
        exporter,
        candidate: args.candidate,
    })
    .await;
    // Whatever the rooms said, the rest of the house ends now; the lock goes last.
    life.over().cancel();
    let _lock = lock.await;
    served.map(exit_code)
}

/// Log, health and signals of a role that runs until it is stopped.
fn begin(config: &Config, flags: Flags, environment: Environment) -> Result<Lifecycle> {
    let output = match config.log.format {
        LogFormat::Text => Output::Text,
        LogFormat::Json => Output::Json,
    };
    let log = Log::install(&config.log.filter, output)?;
    let life = Lifecycle::new(Health::default());
    life.watch_signals(move || {
        let fresh = config::load(&flags, &environment).map_err(|error| error.to_string())?;
        log.refilter(&fresh.log.filter)
            .map_err(|error| error.to_string())?;
        Ok(format!("the log filter is now {}", fresh.log.filter))
    })
    .context("signals cannot be listened to")?;
    Ok(life)
}

/// Roles that print a result say little else.
fn quiet_log(config: &Config) -> Result<()> {
    let filter = if config.log.filter == "info" {
        "warn"
    } else {
        &config.log.filter
    };
    Log::install(filter, Output::Text)?;
    Ok(())
}

async fn check_role(
    flags: &Flags,
    environment: &Environment,
    args: &CheckArgs,
) -> Result<ExitCode> {
    if args.print_defaults {
        print!("{DOCUMENTED}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(socket) = &args.instance {
        let answer = check::instance(socket, args.build.as_deref()).await;
        let line = answer.map_err(anyhow::Error::msg)?;
        println!("{line}");
        return Ok(ExitCode::SUCCESS);
    }
    let config = config::load(flags, environment)?;
    let mut findings = check::look(&config).await;
    findings.push(app::look_at_catalog(&config).await);
    let (text, well) = check::render(&findings);
    print!("{text}");
    Ok(success_if(well))
}

async fn doctor_role(config: &Config, args: &DoctorArgs) -> Result<ExitCode> {
    let mut findings = check::look(config).await;
    findings.push(app::look_at_catalog(config).await);
    print!("{}", doctor::report(config, &findings));
    if args.hw {
        print!("{}", app::doctor_hw(config).await?);
    }
    let (_, well) = check::render(&findings);
    Ok(success_if(well))
}

fn success_if(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn exit_code(exit: Exit) -> ExitCode {
    match exit {
        Exit::Drained => ExitCode::SUCCESS,
        Exit::Forced => ExitCode::from(EXIT_FORCED),
    }
}

fn now() -> String {
    OffsetDateTime::now_utc()
        .truncate_to_second()
        .format(&Rfc3339)
        .unwrap_or_default()
}
