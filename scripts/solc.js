"use strict";
// The Solidity compiler of the npm package `solc` (WebAssembly), or another one whose path is in
// SOLJSON, behind the two calls of the native executable that tools make: `--version`, and
// `--standard-json` on standard input.
// Sources are taken from the input alone: options that name folders are accepted and change nothing.

const { readFileSync } = require("node:fs");

const TAKES_A_VALUE = new Set(["--allow-paths", "--base-path", "--include-path"]);

function refuse(sentence) {
  process.stderr.write(`solc: ${sentence}\n`);
  process.exit(1);
}

function chosenCall(words) {
  let call;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === "--version" || word === "--standard-json") {
      call = word;
    } else if (TAKES_A_VALUE.has(word)) {
      at += 1;
    } else if (word !== "-") {
      refuse(`unknown argument '${word}': this compiler answers --version and --standard-json only.`);
    }
  }
  return call ?? refuse("nothing to do: give --version or --standard-json.");
}

function compiler() {
  try {
    const other = process.env.SOLJSON;
    return other ? require("solc/wrapper")(require(other)) : require("solc");
  } catch (error) {
    return refuse(`the npm package solc is not installed, run scripts/install.sh (${error.code}).`);
  }
}

function main() {
  const call = chosenCall(process.argv.slice(2));
  const solc = compiler();
  if (call === "--version") {
    const version = solc.version();
    process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
  } else {
    process.stdout.write(solc.compile(readFileSync(0, "utf8")));
  }
}

main();
