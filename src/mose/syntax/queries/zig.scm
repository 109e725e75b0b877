(function_declaration name: (_) @name body: (_)? @body) @function
(variable_declaration (identifier) @name [(struct_declaration) (union_declaration) (opaque_declaration)]) @struct
(variable_declaration (identifier) @name (enum_declaration)) @enum
(source_file (variable_declaration . "pub"? . "const" . (identifier) @name) @constant)
(test_declaration (string (string_content) @name) (block) @body) @function
