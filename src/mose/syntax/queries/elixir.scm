(call target: (identifier) @keyword (arguments . [(alias) (identifier)] @name) (do_block)? @body
  (#any-of? @keyword "defmodule" "defprotocol" "defimpl")) @module
(call target: (identifier) @keyword (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: [(call target: (identifier) @name) (identifier) @name] operator: "when")])
  (do_block)? @body
  (#any-of? @keyword "def" "defp" "defdelegate" "defguard" "defguardp" "defn" "defnp" "defcallback")) @function
(call target: (identifier) @keyword (arguments . [
    (identifier) @name
    (call target: (identifier) @name)
    (binary_operator left: (call target: (identifier) @name) operator: "when")])
  (do_block)? @body
  (#any-of? @keyword "defmacro" "defmacrop")) @macro
(call target: (identifier) @keyword (arguments . (string (quoted_content) @name)) (do_block)? @body
  (#any-of? @keyword "test" "describe")) @function
