; "type", "const" and "var" are part of the signature where they stand on the line of the name (see @head).
(function_declaration name: (_) @name body: (_)? @body) @function
(method_declaration
  receiver: (parameter_list (parameter_declaration type: [
    (type_identifier) @scope
    (pointer_type (type_identifier) @scope)
    (generic_type type: (_) @scope)
    (pointer_type (generic_type type: (_) @scope))]))
  name: (_) @name body: (_)? @body) @method
(type_declaration "type" @head (type_spec name: (_) @name type: (struct_type (field_declaration_list) @body)) @struct)
(type_declaration "type" @head (type_spec name: (_) @name type: (interface_type "{" @body)) @interface)
(type_declaration "type" @head (type_spec name: (_) @name) @type)
(type_declaration "type" @head (type_alias name: (_) @name) @type)
(source_file (const_declaration "const" @head (const_spec name: (_) @name) @constant))
(source_file (var_declaration "var" @head (var_spec name: (_) @name) @constant))
(source_file (var_declaration (var_spec_list (var_spec name: (_) @name) @constant)))
