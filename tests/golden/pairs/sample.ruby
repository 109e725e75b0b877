# frozen_string_literal: true

module Mailbox
  # Sorts messages into folders by the rules of the user.
  class MessageSorter
    # Moves a +Message+ to the folder whose rule matches first.
    #
    # @param message [Message]
    def move_message(message)
      rule = @rules.find { |one| one.match?(message) }
      # without any rule it stays in the inbox
      folder = rule ? rule.folder : inbox
      folder << message
    end
  end
end
