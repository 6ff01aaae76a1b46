//! Python's http.client, which frames messages by itself.

use crate::peer::run;
use crate::scene::Scene;

/// Sends on one connection: a request, chunks from an iterator, a HEAD; and tells what came back.
const PROGRAM: &str = "
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=50)
connection.request('GET', '/first?a=b', headers={'x-one': '1'})
answer = connection.getresponse()
said = json.loads(answer.read())
assert (answer.status, said['path'], said['query']) == (200, '/first', 'a=b'), said
socket = connection.sock
connection.request('POST', '/second', body=iter([b'one', b'two' * 10000]), encode_chunked=True)
answer = connection.getresponse()
answer.read()
assert answer.status == 200, answer.status
connection.request('HEAD', '/third')
answer = connection.getresponse()
assert (answer.status, answer.read()) == (200, b''), answer.status
assert connection.sock is socket, 'the connection was not kept'
print('done')
";

#[test]
#[ignore = "`make interop` fetches the peers and runs this"]
fn python_sends_chunks_and_heads_on_one_connection() {
    let proxy = Scene::new().proxy("{}", "[{ to: echo }]");
    let plain = proxy.plain();

    let said = run("python3", &["-I", "-c", PROGRAM, plain.strip_prefix("http://").unwrap()]).good();

    assert_eq!(said.out, "done\n");
}
