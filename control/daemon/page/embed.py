# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Makes one document of the status page and its policy: embed.py HTML CSS JS OUTPUT.c OUTPUT.h.

The policy allows this style and this script, by their digests, and nothing else but questions to where the
page came from (https://www.w3.org/TR/CSP3/)."""
import base64
import hashlib
import sys


def digest(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


html_file, css_file, js_file, c_file, h_file = sys.argv[1:6]
html, css, js = (open(path, encoding="utf-8").read() for path in (html_file, css_file, js_file))
assert html.count("@STYLE@") == html.count("@SCRIPT@") == 1 and "</script" not in js and "</style" not in css
page = html.replace("@STYLE@", css).replace("@SCRIPT@", js).encode()
policy = "; ".join(["default-src 'none'", f"style-src {digest(css)}", f"script-src {digest(js)}", "connect-src 'self'",
                    "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
with open(h_file, "w") as out:
    out.write("#pragma once\n#include <stddef.h>\n#include <stdint.h>\n")
    out.write("extern const uint8_t status_page[];\nextern const size_t status_page_size;\n")
    out.write("extern const char status_page_policy[]; /* Content-Security-Policy */\n")
with open(c_file, "w") as out:
    out.write(f'#include "{h_file.rsplit("/", 1)[-1]}"\n')
    out.write(f"const size_t status_page_size = {len(page)};\n")
    out.write(f'const char status_page_policy[] = "{policy}";\n')
    out.write("const uint8_t status_page[] = {\n")
    for at in range(0, len(page), 16):
        out.write("\t" + "".join(f"0x{byte:02x}," for byte in page[at:at + 16]) + "\n")
    out.write("};\n")
