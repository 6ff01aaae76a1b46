use super::*;

fn found(addresses: &[&str], family: Family) -> Option<Vec<String>> {
    let addresses = addresses.iter().map(|address| address.parse().unwrap());
    let found = Found::among(addresses, family, None)?;
    Some(found.addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn the_family_says_which_addresses_count_and_each_counts_once_in_its_order() {
    let all = ["::1", "10.0.0.2", "10.0.0.1", "::1", "10.0.0.2"];
    let some = |texts: &[&str]| Some(texts.iter().map(ToString::to_string).collect::<Vec<_>>());

    assert_eq!(found(&all, Family::All), some(&["::1", "10.0.0.2", "10.0.0.1"]));
    for family in [Family::PreferIpv4, Family::Ipv4] {
        assert_eq!(found(&all, family), some(&["10.0.0.2", "10.0.0.1"]));
    }
    for family in [Family::PreferIpv6, Family::Ipv6] {
        assert_eq!(found(&all, family), some(&["::1"]));
    }
    assert_eq!(found(&["::1"], Family::PreferIpv4), some(&["::1"]));
    assert_eq!(found(&["10.0.0.1"], Family::PreferIpv6), some(&["10.0.0.1"]));
    assert_eq!((found(&["::1"], Family::Ipv4), found(&["10.0.0.1"], Family::Ipv6)), (None, None));
    assert_eq!(found(&[], Family::All), None);
}

#[test]
fn a_name_is_of_letters_and_digits_and_what_joins_them() {
    for name in ["app", "app.test", "App.test.", "_grpc.app-1.test", &"a".repeat(254)] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "a b", "a\\.b", "a\\046b", "ä.test", "a\0", "*.test", "a/b", &"a".repeat(255)] {
        assert!(!is_name(name), "{name}");
    }
}

#[tokio::test]
async fn an_address_is_its_own_and_what_is_no_name_is_not_looked_up() {
    let resolvers = Resolvers::new(&Handle::current(), None);
    let resolver = resolvers.of(&config::Dns::default());

    let found = resolver.look_up("::1").await.unwrap();

    assert_eq!(found, Found { addresses: vec!["::1".parse().unwrap()], ttl: None });
    let refused = resolver.look_up("no such name").await.unwrap_err();
    assert_eq!(refused.to_string(), "it is no host name");
}

#[tokio::test]
async fn those_who_ask_the_same_servers_share_what_is_known_of_them() {
    let resolvers = Resolvers::new(&Handle::current(), None);
    let servers = |address: &str| [address.parse().unwrap()];

    let (one, two) = (resolvers.servers(&servers("10.0.0.1:53")), resolvers.servers(&servers("10.0.0.2:53")));

    assert!(Arc::ptr_eq(&one, &resolvers.servers(&servers("10.0.0.1:53"))) && !Arc::ptr_eq(&one, &two));
    drop((one, two));
    let _new = resolvers.servers(&[]);
    assert_eq!(resolvers.servers.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_name_servers_the_system_s_resolver_answers_and_hosts_of_a_file_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files { hosts: folder.path().join("hosts"), resolv: folder.path().join("resolv.conf") };
    std::fs::write(&files.hosts, "10.0.0.1 app.test\n::7 app.test\n").unwrap();
    let servers = Servers::new(Vec::new(), files.clone(), (&Arc::default(), &Arc::new(servers::turns())));

    let listed = servers.look_up("app.test", Family::PreferIpv4).await.unwrap();
    let of_system = servers.look_up("127.0.0.1", Family::PreferIpv4).await.unwrap();

    assert_eq!(listed, Found { addresses: vec![[10, 0, 0, 1].into()], ttl: Some(Duration::from_secs(5)) });
    assert_eq!(of_system, Found { addresses: vec![[127, 0, 0, 1].into()], ttl: None });
    // A change is seen at once.
    std::fs::write(&files.hosts, "10.0.0.2 app.test\n").unwrap();
    let changed = servers.look_up("app.test", Family::All).await.unwrap();
    assert_eq!(changed.addresses, [IpAddr::from([10, 0, 0, 2])]);
}

#[tokio::test]
async fn a_look_up_ends_with_the_wait_for_it_and_gives_its_turn_back() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let resolvers = Resolvers::new(&Handle::current(), None);
    let asked = config::Resolver::Servers(vec![silent.local_addr().unwrap()]);
    let resolver = resolvers.of(&config::Dns { resolver: asked, ..config::Dns::default() });
    let free = resolvers.turns.left();
    let mut looking = resolver.look_up("app.test");
    let began = async {
        while resolvers.turns.left() == free {
            tokio::task::yield_now().await
        }
    };
    tokio::select! { _ = &mut looking => panic!("nobody answers"), () = began => {} }

    drop(looking);

    // Long before anybody would have given it up.
    while resolvers.turns.left() != free {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_the_system_says_of_name_servers_is_read_only_where_none_is_listed_and_the_name_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files { hosts: folder.path().join("hosts"), resolv: folder.path().join("resolv.conf") };
    std::fs::write(&files.hosts, "10.0.0.1 app.test\n").unwrap();
    std::fs::write(&files.resolv, "search test\n").unwrap();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let of = |listed| Servers::new(listed, files.clone(), (&Arc::default(), &Arc::new(servers::turns())));
    let opened = Opened::of(&files.resolv);

    of(vec![nobody]).look_up("other.test", Family::Ipv4).await.unwrap_err();
    of(Vec::new()).look_up("app.test", Family::Ipv4).await.unwrap();
    let before = opened.is_told();
    of(Vec::new()).look_up("127.0.0.1", Family::Ipv4).await.unwrap();

    assert!(!before && opened.is_told());
}

/// Whether somebody opened a file.
struct Opened(std::os::fd::OwnedFd);

impl Opened {
    fn of(path: &std::path::Path) -> Self {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        let told = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        add_watch(&told, path, WatchFlags::OPEN | WatchFlags::ACCESS).unwrap();
        Self(told)
    }

    /// True where it was since this was asked for the last time.
    fn is_told(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 4096]).is_ok_and(|bytes| bytes > 0)
    }
}
