//! A task's life.

use std::collections::HashSet;
use std::time::Duration;

use haulier_base::ErrorKind;
use haulier_catalog::queue::{self, Claim, Lease, NewTask, Renewal, Settlement, Stopped};
use haulier_catalog::{Catalog, Dialect, Sql, leases};
use haulier_testkit::both_databases;

const LEASE: Duration = Duration::from_secs(15);

fn task(catalog: &Catalog, owner: &str, subject: &str) -> NewTask {
    NewTask::now("test.run", owner, subject, 1.into(), catalog.now())
}

async fn enqueue(catalog: &Catalog, tasks: Vec<NewTask>) {
    let mut tx = catalog.begin("enqueue").await.unwrap();
    queue::enqueue_all(&mut tx, tasks).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(catalog: &Catalog, slots: usize) -> Vec<Lease> {
    let mut tx = catalog.begin("claim").await.unwrap();
    let kinds = vec!["test.run".to_owned(), "test.other".to_owned()];
    let claim = Claim { kinds, holder: "h".into(), slots, lease: LEASE };
    let leases = queue::claim(&mut tx, &claim).await.unwrap();
    tx.commit().await.unwrap();
    leases
}

async fn settle(catalog: &Catalog, lease: &Lease, settlement: Settlement) -> haulier_base::Result<()> {
    let mut tx = catalog.begin("settle").await?;
    queue::fence(&mut tx, lease).await?;
    queue::settle(&mut tx, lease, settlement).await?;
    tx.commit().await
}

fn subjects(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.task.subject.as_str()).collect()
}

both_databases! {
    async fn a_finished_task_is_gone(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        let leases = claim(&t.catalog, 5).await;
        assert_eq!((subjects(&leases), leases[0].task.attempt, leases[0].epoch), (vec!["a"], 1, 1));
        assert!(claim(&t.catalog, 5).await.is_empty());
        settle(&t.catalog, &leases[0], Settlement::Done).await.unwrap();
        assert_eq!(settle(&t.catalog, &leases[0], Settlement::Done).await.unwrap_err().kind(), ErrorKind::LostLease);
        let mut tx = t.catalog.read().await.unwrap();
        assert!(queue::find_by_subject(&mut tx, "a").await.unwrap().is_empty());
    }

    async fn a_lease_that_ran_out_is_lost_to_the_next(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        let first = claim(&t.catalog, 1).await.remove(0);
        t.clock.advance(LEASE);
        assert_eq!(settle(&t.catalog, &first, Settlement::Done).await.unwrap_err().kind(), ErrorKind::LostLease);
        let second = claim(&t.catalog, 1).await.remove(0);
        assert_eq!((second.task.attempt, second.epoch), (2, 2));
        assert_eq!(settle(&t.catalog, &first, Settlement::Done).await.unwrap_err().kind(), ErrorKind::LostLease);
        let mut tx = t.catalog.begin("renew").await.unwrap();
        let pairs = [&first, &second].map(|lease| (lease.task.id.clone(), lease.token.clone()));
        let renewed = queue::renew(&mut tx, &pairs, t.catalog.now().plus(LEASE * 2)).await.unwrap();
        assert_eq!((renewed[0].1, renewed[1].1), (Renewal::Lost, Renewal::Held { stop_asked: false }));
        tx.commit().await.unwrap();
        t.clock.advance(LEASE);
        settle(&t.catalog, &second, Settlement::Done).await.unwrap();
    }

    async fn a_holder_that_falls_silent_in_a_transaction_holds_no_task_for_ever(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        let first = claim(&t.catalog, 1).await.remove(0);
        // As a process that was frozen between two statements.
        let mut silent = t.catalog.begin("silent").await.unwrap();
        queue::fence(&mut silent, &first).await.unwrap();
        assert_eq!(queue::find_by_subject(&mut silent, "a").await.unwrap().len(), 1);
        t.clock.advance(LEASE);
        let taken_over = async {
            loop {
                if let Some(second) = claim(&t.catalog, 1).await.pop() {
                    return second;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let second = tokio::time::timeout(LEASE, taken_over).await.expect("the row is free before a lease is over");
        assert_eq!(second.epoch, first.epoch + 1);
        let late = async {
            queue::settle(&mut silent, &first, Settlement::Done).await?;
            silent.commit().await
        };
        assert!(late.await.is_err());
        settle(&t.catalog, &second, Settlement::Done).await.unwrap();
    }

    async fn an_attempt_that_got_somewhere_makes_the_earlier_ones_forgotten(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        let first = claim(&t.catalog, 1).await.remove(0);
        t.clock.advance(LEASE);
        let second = claim(&t.catalog, 1).await.remove(0);
        assert_eq!(second.task.attempt, 2);
        let mut tx = t.catalog.begin("forgive").await.unwrap();
        queue::forgive(&mut tx, &second).await.unwrap();
        tx.commit().await.unwrap();
        let late = async {
            let mut tx = t.catalog.begin("forgive").await?;
            queue::forgive(&mut tx, &first).await?;
            tx.commit().await
        };
        assert_eq!(late.await.unwrap_err().kind(), ErrorKind::LostLease);
        t.clock.advance(LEASE);
        assert_eq!(claim(&t.catalog, 1).await[0].task.attempt, 2);
    }

    async fn retry_waits_release_does_not_and_dead_stays(t: TestCatalog) {
        enqueue(&t.catalog, vec![NewTask { max_attempts: 1, ..task(&t.catalog, "o", "a") }]).await;
        let lease = claim(&t.catalog, 1).await.remove(0);
        settle(&t.catalog, &lease, Settlement::Released).await.unwrap();
        let lease = claim(&t.catalog, 1).await.remove(0);
        assert_eq!(lease.task.attempt, 1, "a release gives the attempt back");
        let later = t.catalog.now().plus(Duration::from_secs(60));
        settle(&t.catalog, &lease, Settlement::RetryAt(later, "busy".into())).await.unwrap();
        assert!(claim(&t.catalog, 1).await.is_empty());
        let mut tx = t.catalog.read().await.unwrap();
        assert_eq!(queue::next_run_at(&mut tx, &["test.run".into()]).await.unwrap(), Some(later));
        drop(tx);
        t.clock.advance(Duration::from_secs(60));
        let lease = claim(&t.catalog, 1).await.remove(0);
        assert!(lease.task.attempt > lease.task.max_attempts, "to be given up without running");
        assert_eq!(lease.task.last_error.as_deref(), Some("busy"));
        settle(&t.catalog, &lease, Settlement::Dead("too often".into())).await.unwrap();
        let mut tx = t.catalog.begin("prune").await.unwrap();
        let counts = queue::counts(&mut tx).await.unwrap();
        assert_eq!((counts.ready, counts.leased, counts.dead), (0, 0, 1));
        let after = t.catalog.now().plus(LEASE);
        assert_eq!(queue::prune_finished(&mut tx, after, 10).await.unwrap(), 1);
    }

    async fn stopping_withdraws_and_asks(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        let held = claim(&t.catalog, 1).await.remove(0);
        let other_room = NewTask { kind: "else.run".into(), ..task(&t.catalog, "o", "a") };
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a"), task(&t.catalog, "o", "b"), other_room]).await;
        let mut tx = t.catalog.begin("stop").await.unwrap();
        let stopped = queue::stop(&mut tx, "test.", "a").await.unwrap();
        assert_eq!(stopped, Stopped { withdrawn: 1, asked: 1 });
        queue::fence(&mut tx, &held).await.unwrap();
        assert!(queue::find_by_subject(&mut tx, "a").await.unwrap()[0].stop_asked);
        let pair = [(held.task.id.clone(), held.token.clone())];
        let renewed = queue::renew(&mut tx, &pair, held.deadline).await.unwrap();
        assert_eq!(renewed[0].1, Renewal::Held { stop_asked: true });
        tx.commit().await.unwrap();
        assert_eq!(subjects(&claim(&t.catalog, 5).await), ["b"]);
    }

    async fn priority_then_time_then_creation(t: TestCatalog) {
        let base = task(&t.catalog, "o", "");
        let sooner = t.catalog.now().minus(Duration::from_secs(1));
        let later = t.catalog.now().plus(Duration::from_secs(1));
        enqueue(&t.catalog, vec![
            NewTask { subject: "third".into(), ..base.clone() },
            NewTask { subject: "fourth".into(), ..base.clone() },
            NewTask { subject: "second".into(), run_at: sooner, ..base.clone() },
            NewTask { subject: "first".into(), priority: 1, ..base.clone() },
            NewTask { subject: "not due".into(), priority: 9, run_at: later, ..base },
        ]).await;
        assert_eq!(subjects(&claim(&t.catalog, 1).await), ["first"]);
        assert_eq!(subjects(&claim(&t.catalog, 9).await), ["second", "third", "fourth"]);
    }

    async fn owners_get_fair_shares(t: TestCatalog) {
        let mut tasks: Vec<_> = (0..50).map(|n| task(&t.catalog, "busy", &format!("busy-{n}"))).collect();
        tasks.push(task(&t.catalog, "modest", "modest-0"));
        tasks.push(task(&t.catalog, "quiet", "quiet-0"));
        enqueue(&t.catalog, tasks).await;
        assert_eq!(subjects(&claim(&t.catalog, 4).await), ["busy-0", "busy-1", "modest-0", "quiet-0"]);
        enqueue(&t.catalog, vec![task(&t.catalog, "modest", "modest-1")]).await;
        assert_eq!(subjects(&claim(&t.catalog, 1).await), ["modest-1"], "who has least leased goes first");
    }

    async fn claimers_never_get_the_same_task(t: TestCatalog) {
        enqueue(&t.catalog, (0..200).map(|n| task(&t.catalog, "o", &n.to_string())).collect()).await;
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let catalog = t.catalog.clone();
            running.spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let leases = claim(&catalog, 8).await;
                    if leases.is_empty() {
                        return mine;
                    }
                    mine.extend(leases.into_iter().map(|lease| lease.task.id));
                }
            });
        }
        let mut all = running.join_all().await.concat();
        // Whoever found everything locked stopped early; what is left is still there.
        all.extend(claim(&t.catalog, 200).await.into_iter().map(|lease| lease.task.id));
        assert_eq!(all.len(), 200);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 200);
    }

    async fn stop_marks_are_found_without_renewing(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a"), task(&t.catalog, "o", "b")]).await;
        let leases: Vec<_> =
            claim(&t.catalog, 2).await.into_iter().map(|lease| (lease.task.id, lease.token)).collect();
        let mut tx = t.catalog.begin("stop").await.unwrap();
        assert!(queue::stops_asked(&mut tx, &leases).await.unwrap().is_empty());
        queue::stop(&mut tx, "test.", "b").await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = t.catalog.read().await.unwrap();
        assert_eq!(queue::stops_asked(&mut tx, &leases).await.unwrap(), leases[1..]);
        let of_another = [(leases[1].0.clone(), "another token".to_owned())];
        assert!(queue::stops_asked(&mut tx, &of_another).await.unwrap().is_empty());
    }

    async fn released_tasks_go_on_at_once(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a"), task(&t.catalog, "o", "b")]).await;
        let before = claim(&t.catalog, 2).await;
        let mut tx = t.catalog.begin("release").await.unwrap();
        queue::stop(&mut tx, "test.", "a").await.unwrap();
        assert_eq!(queue::release_all(&mut tx).await.unwrap(), 2);
        let again = queue::stop(&mut tx, "test.", "a").await.unwrap();
        assert_eq!(again, Stopped { withdrawn: 0, asked: 1 }, "a task that was under way is never withdrawn");
        tx.commit().await.unwrap();
        let after = claim(&t.catalog, 5).await;
        assert_eq!(subjects(&after), ["a", "b"]);
        for (lease, stop_asked) in after.iter().zip([true, false]) {
            assert_eq!((lease.task.attempt, lease.epoch, lease.task.stop_asked), (2, 2, stop_asked));
        }
        assert_eq!(settle(&t.catalog, &before[0], Settlement::Done).await.unwrap_err().kind(), ErrorKind::LostLease);
        settle(&t.catalog, &after[0], Settlement::Done).await.unwrap();
    }

    async fn only_sqlite_takes_leases_from_the_dead(t: TestCatalog) {
        enqueue(&t.catalog, vec![task(&t.catalog, "o", "a")]).await;
        claim(&t.catalog, 1).await;
        let mut tx = t.catalog.begin("role").await.unwrap();
        assert!(leases::hold(&mut tx, "dispatcher", "before", LEASE).await.unwrap());
        tx.commit().await.unwrap();
        t.reopen().await;
        // On PostgreSQL the holder may be another process that lives.
        let alone = t.catalog.dialect() == Dialect::Sqlite;
        assert_eq!(!claim(&t.catalog, 1).await.is_empty(), alone);
        let mut tx = t.catalog.begin("role").await.unwrap();
        assert_eq!(leases::hold(&mut tx, "dispatcher", "after", LEASE).await.unwrap(), alone);
    }

    async fn a_claim_among_very_many_is_quick(t: TestCatalog) {
        for owner in ["a", "b", "c"] {
            enqueue(&t.catalog, (0..33_400).map(|n| task(&t.catalog, owner, &n.to_string())).collect()).await;
        }
        let mut tx = t.catalog.begin("statistics").await.unwrap();
        tx.execute(Sql::both("ANALYZE tasks"), haulier_catalog::args![]).await.unwrap();
        tx.commit().await.unwrap();
        claim(&t.catalog, 16).await;
        let mut times = Vec::new();
        for _ in 0..9 {
            let began = std::time::Instant::now();
            assert_eq!(claim(&t.catalog, 16).await.len(), 16);
            times.push(began.elapsed());
        }
        times.sort();
        // A claim that reads every task takes several times this. The fastest counts: the machine may be busy.
        assert!(times[0] < Duration::from_millis(30), "{times:?}");
    }
}
