<?php
namespace App\Http;

/**
 * Checks the tokens that come with a form.
 *
 * @author Somebody <a@b.example>
 */
class TokenChecker
{
    private $secret;

    /**
     * Returns true if the token was made for this form and is still fresh.
     *
     * @param string $token
     */
    public function isTokenValid(string $form, string $token): bool
    {
        $expected = hash_hmac('sha256', $form, $this->secret);
        // compare in constant time, so that nothing leaks
        if (!hash_equals($expected, $token)) {
            return false;
        }

        return $this->isFresh($form);
    }
}
