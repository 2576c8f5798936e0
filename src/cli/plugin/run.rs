//! Each command of the plugin, from what was asked to what is printed.

use std::path::PathBuf;

use anyhow::Context;
use kubernetes::Reach;
use serde_json::Value;

use super::output::{json, print, redraw};
use super::{
    Format, LogsArgs, PortForwardArgs, ReportArgs, RestartArgs, SearchArgs, StatusArgs, What,
};
use crate::clock::{Clock, SystemClock};
use crate::plugin::change::{Wish, carry_out};
use crate::plugin::look::{self as kubernetes, Access, Connection, Sight};
use crate::plugin::{explain, forward, logs, report, search, status};
use crate::process::StopRequests;

pub(super) async fn run(connection: Connection, what: What) -> anyhow::Result<()> {
    let access = Access::new(connection).await?;
    let tell = async |name: &str, wish: Wish| -> anyhow::Result<()> {
        Ok(print(&carry_out(&access, name, &wish).await?)?)
    };
    // Boxed: what asks over TLS is large.
    match what {
        What::Status(args) => show(&access, args).await,
        What::Explain(args) => {
            let sight = access.sight_with_warnings(&args.name).await?;
            Ok(print(&explain::text(&sight))?)
        },
        What::Restart(RestartArgs { cluster, role }) => {
            tell(&cluster.name, Wish::Restart(role)).await
        },
        What::Approve(args) => tell(&args.cluster.name, Wish::Approve(args.operation)).await,
        What::Pause(args) => tell(&args.name, Wish::Pause).await,
        What::Resume(args) => tell(&args.name, Wish::Resume).await,
        What::Hibernate(args) => tell(&args.name, Wish::Hibernate).await,
        What::Wake(args) => tell(&args.name, Wish::Wake).await,
        What::Logs(args) => read_logs(&access, args).await,
        What::PortForward(args) => Box::pin(open(&access, args)).await,
        What::Search(args) => Box::pin(find(&access, args)).await,
        What::Report(args) => Box::pin(write_report(&access, args)).await,
    }
}

fn now() -> i64 {
    i64::try_from(SystemClock.wall_ms() / 1_000).unwrap_or(i64::MAX)
}

async fn show(access: &Access, args: StatusArgs) -> anyhow::Result<()> {
    let name = match args.name {
        Some(name) => name,
        None => {
            let reach = if args.all_namespaces {
                Reach::All
            } else {
                Reach::Namespace
            };
            let clusters = access.clusters(reach).await?;
            match clusters.as_slice() {
                [only] if reach == Reach::Namespace => {
                    only.metadata.name.clone().unwrap_or_default()
                },
                several => {
                    let text = match args.output {
                        Format::Table => status::list_text(several, now()),
                        Format::Json => json(&status::list_json(several)),
                    };
                    return Ok(print(&text)?);
                },
            }
        },
    };
    let draw = |sight: &Sight| match args.output {
        Format::Table => status::text(sight),
        Format::Json => json(&status::json(sight)),
    };
    if !args.watch {
        return Ok(print(&draw(&access.sight(&name).await?))?);
    }
    let mut is_first = true;
    access
        .watch(&name, |sight| {
            redraw(&draw(sight), std::mem::take(&mut is_first))
        })
        .await?;
    Ok(())
}

async fn read_logs(access: &Access, args: LogsArgs) -> anyhow::Result<()> {
    let which = logs::Which {
        role: args.role,
        follow: args.follow,
        since_seconds: args.since,
        tail_lines: args.tail,
        previous: args.previous,
    };
    Ok(logs::print(access, &args.cluster.name, &which, print).await?)
}

async fn open(access: &Access, args: PortForwardArgs) -> anyhow::Result<()> {
    let mut stop = StopRequests::of_signals()?;
    let cluster = access.cluster(&args.cluster.name).await?;
    let port = args.port.unwrap_or(0);
    let mut tunnel = forward::Tunnel::to_gateway(access, &args.cluster.name, port).await?;
    let mut text = forward::how_to_connect(&cluster, tunnel.port());
    if let Some(key) = args.show_key {
        let shown = search::key(access, &cluster, &[key.name()]).await?;
        text.push_str(&format!("\nThe {} key: {shown}\n", key.name()));
    }
    print(&text)?;
    tokio::select! {
        ended = tunnel.ended() => Ok(ended?),
        _ = stop.next() => Ok(()),
    }
}

async fn find(access: &Access, args: SearchArgs) -> anyhow::Result<()> {
    let read = |text: &str, what: &str| -> anyhow::Result<Value> {
        serde_json::from_str(text).with_context(|| format!("{what} is no JSON"))
    };
    let target = match (&args.vector, &args.id) {
        (Some(vector), _) => read(vector, "--vector")?,
        (None, id) => search::id(id.as_deref().unwrap_or_default()),
    };
    let filter = args.filter.as_deref();
    let question = search::Question {
        collection: args.collection,
        target,
        filter: filter.map(|filter| read(filter, "--filter")).transpose()?,
        limit: args.limit,
        with_payload: args.with_payload,
        server_name: args.server_name,
    };
    let asked = Box::pin(search::search(access, &args.cluster.name, &question));
    let found = asked.await?;
    let text = match args.output {
        Format::Table => search::text(&found, question.with_payload),
        Format::Json => json(&found),
    };
    Ok(print(&text)?)
}

async fn write_report(access: &Access, args: ReportArgs) -> anyhow::Result<()> {
    let name = args.cluster.name;
    let file = args
        .file
        .unwrap_or_else(|| PathBuf::from(format!("vectorsphere-report-{name}.tar")));
    let writing = Box::pin(report::write(access, &name, &file, args.lines));
    Ok(print(&writing.await?)?)
}
