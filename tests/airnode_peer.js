// Airnode's own libraries, answering line by line: what ours is held against.
// A line is {"do": …, …} and so is its answer: {"value": …} or {"error": …}. Bytes are 0x and hex.
"use strict";
const readline = require("node:readline");
const { decode, encode } = require("@api3/airnode-abi");
const { AirnodeRrpAddresses, AirnodeRrpV0Factory } = require("@api3/airnode-protocol");
const { ethers } = require("ethers");

const rrp = new ethers.utils.Interface(AirnodeRrpV0Factory.abi);
// 31 bits of the sponsor's address to a level of the path.
const steps = (sponsor) =>
  [0n, 1n, 2n, 3n, 4n, 5n].map((k) => (BigInt(sponsor) >> (31n * k)) & 0x7fffffffn).join("/");
const airnode = (words) => ethers.utils.HDNode.fromMnemonic(words).derivePath("m/44'/60'/0'");

const acts = {
  hash: ({ types, values }) => ethers.utils.solidityKeccak256(types, values),
  event: ({ name, values }) => rrp.encodeEventLog(rrp.getEvent(name), values),
  call: ({ name, values }) => rrp.encodeFunctionData(name, values),
  result: ({ name, values }) => rrp.encodeFunctionResult(name, values),
  encode: ({ parameters }) => encode(parameters),
  decode: ({ encoded }) => decode(encoded),
  abi: ({ types, values }) => ethers.utils.defaultAbiCoder.encode(types, values),
  number: ({ value }) => {
    const number = Number(value);
    return Number.isInteger(number) ? number : null;
  },
  identity: ({ words }) => {
    const account = airnode(words);
    return { address: account.derivePath("0/0").address, xpub: account.neuter().extendedKey };
  },
  wallet: ({ words, sponsor }) => {
    const { address, privateKey } = airnode(words).derivePath(`1/${steps(sponsor)}`);
    return { address, privateKey };
  },
  publicWallet: ({ xpub, sponsor }) =>
    ethers.utils.HDNode.fromExtendedKey(xpub).derivePath(`1/${steps(sponsor)}`).address,
  sign: async ({ words, digest }) =>
    new ethers.Wallet(airnode(words).derivePath("0/0").privateKey).signMessage(
      ethers.utils.arrayify(digest)
    ),
  addresses: () => AirnodeRrpAddresses,
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      const question = JSON.parse(line);
      answer = { value: await acts[question.do](question) };
    } catch (error) {
      answer = { error: String(error.message) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
})();
