<?php
namespace App\Http;
use X;
/** Doc */
#[Attr]
abstract class Foo extends Bar implements Baz {
    const LIMIT = 3;
    private $x;
    public function __construct(private int $a) {}
    abstract protected function run(): void;
    public static function make() { return new static; }
}
interface I { public function m(); }
trait T { function t() {} }
enum E: string { case A = 'a'; }
function f() {}
const TOP = 1;
$g = function() {};
