"""From files to the chunks of an index, with the words under which each is found."""
