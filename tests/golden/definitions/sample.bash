#!/bin/bash
# Doc
foo() { echo 1; }
function bar { echo 2; }
function baz() {
  local x=1
}
LIMIT=3
export PATHX=1
readonly Z=1
