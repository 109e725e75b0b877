// Adds.
const add = (a, b) => a + b;
export const mul = async (a, b) => { return a * b; };
export default function main() { return 1 }
export default class Foo extends Bar { static x = 1; constructor() {} get y() { return 2 } handle = () => { return 1 }; #p() {} }
module.exports = { alpha: function() { return 1 }, beta() { return 2 }, gamma: () => 3 };
exports.delta = function (x) { return x };
Foo.prototype.eps = function () {};
const { a, b } = require('x');
var LIMIT = 3;
function* gen() { yield 1 }
export { add };
const K = class extends L { m() {} }
app.get('/x', function handler(req, res) { const inner = () => 1; return inner })
