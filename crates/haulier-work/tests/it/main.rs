//! The runner's promises, on both databases.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod probe;

use std::collections::HashSet;
use std::time::Duration;

use haulier_base::ErrorKind;
use haulier_catalog::Catalog;
use haulier_catalog::queue::{self, Claim, NewTask, Stopped, Task, TaskState};
use haulier_testkit::both_databases;
use haulier_work::{Runner, RunnerConfig, StopReason};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use probe::{Act, KIND, Said, probe};

const LEASE: Duration = Duration::from_secs(15);

/// A runner that renews too seldom to matter in a test.
fn config() -> RunnerConfig {
    RunnerConfig { renew_every: Duration::from_secs(600), ..RunnerConfig::default() }
}

#[expect(clippy::disallowed_methods, reason = "the caller awaits the handle")]
fn start(runner: Runner) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(runner.run(stop)))
}

async fn enqueue(catalog: &Catalog, subjects: impl IntoIterator<Item = String>, max_attempts: u32) {
    let new = |subject| NewTask { max_attempts, ..NewTask::now(KIND, "o", subject, 1.into(), catalog.now()) };
    let mut tx = catalog.begin("enqueue").await.unwrap();
    queue::enqueue_all(&mut tx, subjects.into_iter().map(new).collect()).await.unwrap();
    tx.commit().await.unwrap();
    catalog.wake_workers();
}

async fn enqueue_one(catalog: &Catalog, max_attempts: u32) {
    enqueue(catalog, ["a".to_owned()], max_attempts).await;
}

/// Claims for somebody who is not a runner.
async fn claim_elsewhere(catalog: &Catalog) -> usize {
    let claim = Claim { kinds: vec![KIND.to_owned()], holder: "elsewhere".into(), slots: 1, lease: LEASE };
    let mut tx = catalog.begin("claim").await.unwrap();
    let leases = queue::claim(&mut tx, &claim).await.unwrap();
    tx.commit().await.unwrap();
    leases.len()
}

async fn the_task(catalog: &Catalog) -> Task {
    let mut tx = catalog.read().await.unwrap();
    queue::find_by_subject(&mut tx, "a").await.unwrap().remove(0)
}

both_databases! {
    async fn runs_all_that_is_ready(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::Finish);
        enqueue(&t.catalog, (0..20).map(|n| n.to_string()), 3).await;
        let runner = Runner::new(t.catalog.clone(), handlers, config());
        assert_eq!(runner.run_until_idle().await.unwrap(), 20);
        assert_eq!(said.all_now().len(), 20);
        let mut tx = t.catalog.read().await.unwrap();
        let counts = queue::counts(&mut tx).await.unwrap();
        assert_eq!((counts.ready, counts.leased, counts.dead), (0, 0, 0));
    }

    async fn a_lost_lease_stops_the_late_twin_from_writing(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::WriteWhenStopped);
        enqueue_one(&t.catalog, 3).await;
        // With its one slot taken, the runner does not claim the task again itself.
        let often = RunnerConfig { slots: 1, renew_every: Duration::from_millis(200), ..config() };
        let (stop, running) = start(Runner::new(t.catalog.clone(), handlers, often));
        assert!(matches!(said.next().await, Said::Ran { .. }));
        // The runner may renew just between the two.
        loop {
            t.clock.advance(LEASE);
            if claim_elsewhere(&t.catalog).await == 1 {
                break;
            }
        }
        assert_eq!(said.next().await, Said::Stopped(StopReason::Lost));
        assert_eq!(said.next().await, Said::BeginFailed(ErrorKind::LostLease));
        assert_eq!(said.next().await, Said::FinishFailed(ErrorKind::LostLease));
        stop.cancel();
        running.await.unwrap();
        let task = the_task(&t.catalog).await;
        assert_eq!((task.state, task.attempt, task.last_error), (TaskState::Leased, 2, None), "the twin's, untouched");
    }

    async fn a_lease_that_cannot_be_renewed_is_lost_by_the_local_clock(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::WriteWhenStopped);
        enqueue_one(&t.catalog, 3).await;
        let brief = RunnerConfig { lease: Duration::from_millis(300), ..config() };
        let (stop, running) = start(Runner::new(t.catalog.clone(), handlers, brief));
        assert!(matches!(said.next().await, Said::Ran { .. }));
        // The catalogue's clock stands still: by that one the lease would be ours for ever.
        assert_eq!(said.next().await, Said::Stopped(StopReason::Lost));
        assert_eq!(said.next().await, Said::BeginFailed(ErrorKind::LostLease));
        stop.cancel();
        running.await.unwrap();
    }

    async fn a_stop_reaches_the_handler_between_renewals(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::FinishWhenStopped);
        enqueue_one(&t.catalog, 3).await;
        let (stop, running) = start(Runner::new(t.catalog.clone(), handlers, config()));
        assert!(matches!(said.next().await, Said::Ran { .. }));
        let mut tx = t.catalog.begin("stop").await.unwrap();
        assert_eq!(queue::stop(&mut tx, "test.", "a").await.unwrap(), Stopped { withdrawn: 0, asked: 1 });
        tx.commit().await.unwrap();
        // Nobody is woken, as when the hint gets lost: the runner has to look by itself.
        let heard = tokio::time::timeout(Duration::from_secs(2), said.next()).await;
        assert_eq!(heard.expect("a stop takes effect within two seconds"), Said::Stopped(StopReason::Asked));
        stop.cancel();
        running.await.unwrap();
    }

    async fn a_stop_asked_before_a_restart_is_still_heard(t: TestCatalog) {
        enqueue_one(&t.catalog, 3).await;
        assert_eq!(claim_elsewhere(&t.catalog).await, 1);
        let mut tx = t.catalog.begin("stop").await.unwrap();
        queue::stop(&mut tx, "test.", "a").await.unwrap();
        queue::release_all(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let (handlers, mut said) = probe(&t.catalog, Act::FinishWhenStopped);
        assert_eq!(Runner::new(t.catalog.clone(), handlers, config()).run_until_idle().await.unwrap(), 1);
        assert!(matches!(said.next().await, Said::Ran { .. }));
        assert_eq!(said.next().await, Said::Stopped(StopReason::Asked));
    }

    async fn shutdown_puts_the_task_back_and_gives_the_attempt_back(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::CancelWhenStopped);
        enqueue_one(&t.catalog, 3).await;
        let (stop, running) = start(Runner::new(t.catalog.clone(), handlers, config()));
        assert!(matches!(said.next().await, Said::Ran { .. }));
        stop.cancel();
        running.await.unwrap();
        assert_eq!(said.all_now(), [Said::Stopped(StopReason::Shutdown)]);
        let task = the_task(&t.catalog).await;
        assert_eq!((task.state, task.attempt), (TaskState::Ready, 0));
    }

    async fn a_panic_is_a_failed_attempt(t: TestCatalog) {
        let (handlers, _said) = probe(&t.catalog, Act::Panic);
        enqueue_one(&t.catalog, 3).await;
        assert_eq!(Runner::new(t.catalog.clone(), handlers, config()).run_until_idle().await.unwrap(), 1);
        let task = the_task(&t.catalog).await;
        assert_eq!((task.state, task.attempt), (TaskState::Ready, 1));
        assert!(task.run_at > t.catalog.now());
        assert_eq!(task.last_error.as_deref(), Some("the handler panicked"));
    }

    async fn a_task_that_takes_its_process_down_is_given_up_without_running(t: TestCatalog) {
        enqueue_one(&t.catalog, 2).await;
        for _ in 0..2 {
            assert_eq!(claim_elsewhere(&t.catalog).await, 1);
            t.clock.advance(LEASE);
        }
        let (handlers, mut said) = probe(&t.catalog, Act::Finish);
        Runner::new(t.catalog.clone(), handlers, config()).run_until_idle().await.unwrap();
        assert_eq!(said.all_now(), [Said::GaveUp], "recorded, but never run");
        assert_eq!(the_task(&t.catalog).await.state, TaskState::Dead);
    }

    async fn trouble_is_tried_again_later_and_then_given_up(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::Fail(ErrorKind::Unavailable));
        enqueue_one(&t.catalog, 2).await;
        let runner = Runner::new(t.catalog.clone(), handlers, config());
        assert_eq!(runner.run_until_idle().await.unwrap(), 1, "the second attempt is not due yet");
        let task = the_task(&t.catalog).await;
        assert_eq!((task.state, task.attempt), (TaskState::Ready, 1));
        t.clock.advance(task.run_at.since(t.catalog.now()));
        assert_eq!(runner.run_until_idle().await.unwrap(), 1);
        assert!(matches!(&said.all_now()[..], [Said::Ran { .. }, Said::Ran { .. }, Said::GaveUp]));
        assert_eq!(the_task(&t.catalog).await.state, TaskState::Dead);
    }

    async fn what_cannot_get_better_is_not_tried_again(t: TestCatalog) {
        let (handlers, mut said) = probe(&t.catalog, Act::Fail(ErrorKind::Invalid));
        enqueue_one(&t.catalog, 9).await;
        assert_eq!(Runner::new(t.catalog.clone(), handlers, config()).run_until_idle().await.unwrap(), 1);
        assert!(matches!(&said.all_now()[..], [Said::Ran { .. }, Said::GaveUp]));
    }

    async fn two_runners_share_the_work_and_never_run_a_task_twice(t: TestCatalog) {
        const TASKS: usize = 60;
        let (handlers, mut said) = probe(&t.catalog, Act::FinishSlowly);
        let two = ["left", "right"].map(|holder| {
            let config = RunnerConfig { slots: 4, holder: holder.to_owned(), ..config() };
            start(Runner::new(t.catalog.clone(), handlers.clone(), config))
        });
        enqueue(&t.catalog, (0..TASKS).map(|n| n.to_string()), 3).await;
        let (mut tasks, mut holders) = (HashSet::new(), HashSet::new());
        for _ in 0..TASKS {
            let Said::Ran { task, holder } = said.next().await else { panic!("only runs were expected") };
            assert!(tasks.insert(task), "a task ran twice");
            holders.insert(holder);
        }
        assert_eq!(holders.len(), 2);
        for (stop, running) in two {
            stop.cancel();
            running.await.unwrap();
        }
        assert!(said.all_now().is_empty());
    }
}
