"""What tests of several parts share: fakes and builders."""
