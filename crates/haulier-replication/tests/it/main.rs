//! Stories of the replication room, over its routes.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

mod across;
mod administration;
mod buckets;
mod chaos;
mod contents;
mod link;
mod listings;
mod names;
mod orders;
mod raw;
mod runs;
mod site;
mod sweeping;
mod tokens;
mod uploads;

mod lines {
    use haulier_testkit::both_databases;

    use crate::link::Line;
    use crate::site::Sites;

    both_databases! {
        async fn sites_start_again_where_they_were_and_lines_can_be_cut(t: TestCatalog) {
            let mut sites = Sites::three(t).await;
            let through = sites.uri(0, 1);
            let asked = reqwest::get(&through).await.unwrap();
            assert_eq!(asked.status(), 404);
            sites.line(0, 1, Line::Cut);
            reqwest::get(&through).await.unwrap_err();
            sites.cut_off(1, false);
            sites[1].crash().await;
            reqwest::get(&through).await.unwrap_err();
            sites[1].start().await;
            assert_eq!(reqwest::get(&through).await.unwrap().status(), 404);
            sites[1].restart().await;
            sites.end().await;
        }
    }
}
