# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
"""Writes a binary file as a C array: embed.py INPUT OUTPUT.c OUTPUT.h NAME."""
import sys

source, c_file, h_file, name = sys.argv[1:5]
data = open(source, "rb").read()
with open(h_file, "w") as out:
    out.write("#pragma once\n#include <stddef.h>\n#include <stdint.h>\n")
    out.write(f"extern const uint8_t {name}[];\nextern const size_t {name}_size;\n")
with open(c_file, "w") as out:
    out.write(f'#include "{h_file.rsplit("/", 1)[-1]}"\n')
    out.write(f"const size_t {name}_size = {len(data)};\n")
    out.write(f"const uint8_t {name}[] __attribute__((aligned(8))) = {{\n")
    for at in range(0, len(data), 16):
        out.write("\t" + "".join(f"0x{byte:02x}," for byte in data[at:at + 16]) + "\n")
    out.write("};\n")
