//! nginx and haproxy as upstreams.

use std::fs;
use std::net::SocketAddr;

use crate::peer::{Server, own_host};
use crate::scene::Scene;

/// A running nginx, and where it listens.
pub(crate) struct Nginx {
    pub(crate) server: Server,
    pub(crate) plain: SocketAddr,
    /// Shows the certificate of the name it is asked for, and demands one of the client.
    pub(crate) tls: SocketAddr,
}

impl Nginx {
    /// Serves and takes files below `www/` of the scene, and tells about requests at `/facts`.
    pub(crate) fn start(scene: &Scene) -> Nginx {
        let host = own_host();
        let (plain, tls) = ((host, 8080).into(), (host, 8443).into());
        fs::create_dir_all(scene.folder().join("www/files")).unwrap();
        let config = scene.write("nginx.conf", Nginx::config(scene, plain, tls));
        let arguments = ["-p", scene.folder().to_str().unwrap(), "-e", "stderr", "-c", &config];
        let log = scene.folder().join("nginx.log");
        Nginx { server: Server::start("nginx", &arguments, &log, &[plain, tls]), plain, tls }
    }

    fn config(scene: &Scene, plain: SocketAddr, tls: SocketAddr) -> String {
        let folder = scene.folder().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        // The workers of a master that is root would be somebody whom the folder is closed to.
        let user = if rustix::process::getuid().is_root() { "user root root;" } else { "" };
        let facts = "location /facts { default_type text/plain; return 200 \
             '$request_method $server_protocol $ssl_protocol $ssl_server_name $ssl_client_s_dn $connection_requests\\n'; }";
        format!(
            "{user} daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log stderr notice;
             events {{ }}
             http {{
                 access_log off; client_max_body_size 64m; root {folder}/www; {temporary}
                 server {{
                     listen {plain}; {facts}
                     location /files/ {{ dav_methods PUT; ssi off; }}
                     location /chunked/ {{ alias {folder}/www/files/; ssi on; ssi_types *; }}
                     location /compressed/ {{ alias {folder}/www/files/; gzip on; gzip_types *; }}
                     location /trailers/ {{
                         alias {folder}/www/files/; add_header Trailer X-Checksum; add_trailer X-Checksum \"sum of $uri\";
                     }}
                 }}
                 ssl_protocols TLSv1.2 TLSv1.3; ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;
                 server {{
                     listen {tls} ssl; server_name a.test; {facts}
                     ssl_certificate {folder}/a.pem; ssl_certificate_key {folder}/a.key;
                 }}
                 server {{
                     listen {tls} ssl; server_name b.wild.test; {facts}
                     ssl_certificate {folder}/wild.pem; ssl_certificate_key {folder}/wild.key;
                 }}
             }}"
        )
    }
}

/// A running haproxy, and where it listens.
pub(crate) struct Haproxy {
    pub(crate) server: Server,
    pub(crate) http1: SocketAddr,
    pub(crate) h2c: SocketAddr,
    /// HTTP/2 or HTTP/1.1, as is agreed on; demands a certificate.
    pub(crate) tls: SocketAddr,
}

impl Haproxy {
    /// Tells about requests at `/facts`, and passes others on to nginx.
    pub(crate) fn start(scene: &Scene, behind: &Nginx) -> Haproxy {
        let host = own_host();
        let [http1, h2c, tls] = [8080, 8081, 8443].map(|port| SocketAddr::from((host, port)));
        let folder = scene.folder().display();
        let config = format!(
            "global
                 maxconn 1000
             defaults
                 mode http
                 timeout client 30s
                 timeout server 30s
                 timeout connect 5s
             frontend front
                 bind {http1}
                 bind {h2c} proto h2
                 bind {tls} ssl crt {folder}/a.both alpn h2,http/1.1 ca-file {folder}/ca.pem verify required
                 http-request return status 200 content-type text/plain lf-string \"%[method] %HV %[ssl_fc_sni] %[ssl_c_s_dn(CN)]\\n\" if {{ path /facts }}
                 default_backend back
             backend back
                 server nginx {}\n",
            behind.plain
        );
        let config = scene.write("haproxy.cfg", config);
        let log = scene.folder().join("haproxy.log");
        let server = Server::start("haproxy", &["-W", "-f", &config], &log, &[http1, tls]);
        Haproxy { server, http1, h2c, tls }
    }
}
