"""Writes a Maven repository of one package, dev.example:greeting:1.0, into the folder given and serves it."""
import functools
import http.server
import pathlib
import sys
import zipfile

folder, address, port = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
package = folder / "dev/example/greeting/1.0"
package.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(package / "greeting-1.0.jar", "w") as jar:
    jar.writestr("greeting.txt", "from a package")
(package / "greeting-1.0.pom").write_text(
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
    "<groupId>dev.example</groupId><artifactId>greeting</artifactId><version>1.0</version></project>"
)
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
http.server.ThreadingHTTPServer((address, port), handler).serve_forever()
